"""What memory is worth in a plan, and so which choices cannot be part of a better one. Pure.

Lagrangian relaxation (Everett, 1963): let plans take more memory than there is, at a price for each
part of a pool, and let them cover less than they must, at a price for that. The best such plan is
found by looking at each wish alone, and no real one is better. So is no plan with a given choice
better than that one with the wish's best choice replaced by it. The prices under which this says
most are approached by subgradients (Held, Wolfe, Crowder, 1974); whatever they are, it is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDS = 100
_PATIENCE = 5
"""Rounds without a better bound before steps become shorter."""
_SHORTER = 0.6
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Offer:
    """One choice for a wish."""

    position: int
    """Of the wish in the demand."""
    worth: float
    parts: tuple[float, ...]
    """What it takes of each scarce thing, as a part of all there is of it; a negative part adds to
    what is there."""


def limits(
    offers: Sequence[Offer], optional: frozenset[int], stock: Sequence[float], least: float
) -> list[float]:
    """For each offer what a plan with it is worth at most.

    `optional`: the positions of wishes that may be left out. `stock`: of each scarce thing how much
    there is, in the unit of the parts. `least`: what some plan is worth; the steps are as long as
    the bound is away from it.
    """
    by_position: dict[int, list[Offer]] = {}
    for offer in offers:
        by_position.setdefault(offer.position, []).append(offer)
    prices = [0.0] * len(stock)
    best = _Bound(float("inf"), prices, {})
    length, stale = 1.0, 0
    for _ in range(_ROUNDS):
        bound, left = _relaxed(by_position, optional, stock, prices)
        if bound.value < best.value - _ROUNDING:
            best, stale = bound, 0
        else:
            stale += 1
        if stale == _PATIENCE:
            length, stale = length * _SHORTER, 0
        slope = sum(x * x for x, price in zip(left, prices, strict=True) if price > 0 or x < 0)
        if slope < _ROUNDING:
            break
        step = length * max(bound.value - least, 1.0) / slope
        prices = [max(0.0, price - step * x) for x, price in zip(left, prices, strict=True)]
    return [
        best.value - best.of_wish[offer.position] + _net(offer, best.prices) + _ROUNDING
        for offer in offers
    ]


@dataclass(frozen=True, slots=True)
class _Bound:
    value: float
    prices: Sequence[float]
    of_wish: dict[int, float]
    """What the best choice for each wish adds to it."""


def _relaxed(
    by_position: dict[int, list[Offer]],
    optional: frozenset[int],
    stock: Sequence[float],
    prices: Sequence[float],
) -> tuple[_Bound, list[float]]:
    """The best plan under these prices, and what it leaves of the stock."""
    left = list(stock)
    of_wish: dict[int, float] = {}
    for position, offers in by_position.items():
        worths = [_net(offer, prices) for offer in offers]
        most = max(worths)
        if most < 0 and position in optional:
            of_wish[position] = 0.0
            continue
        of_wish[position] = most
        taken = offers[worths.index(most)]
        left = [there - part for there, part in zip(left, taken.parts, strict=True)]
    paid = sum(there * price for there, price in zip(stock, prices, strict=True))
    return _Bound(paid + sum(of_wish.values()), prices, of_wish), left


def _net(offer: Offer, prices: Sequence[float]) -> float:
    worth = offer.worth
    for part, price in zip(offer.parts, prices, strict=True):
        worth -= part * price
    return worth
