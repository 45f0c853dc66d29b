"""What spillover by a count of requests costs at a given attainment of the SLO. Pure.

Its thresholds make a curve: the more requests the engine may have, the less the cloud is paid, and
the fewer first tokens come in time. Between two thresholds lies whoever uses both by turns, so what
is compared with is the lower convex hull of the curve: the best mixture of any two. Threshold 0
sends everything to the cloud; so the curve reaches as far as the cloud itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_BELOW = 2
"""Thresholds that must attain less: the best mixture may leave out the next one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    attained: float
    """The part of the requests whose first token came within the SLO."""
    spent: float
    """USD."""


def hull(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that no mixture of two others beats, by what they attain."""
    found: list[Outcome] = []
    for one in sorted(outcomes, key=lambda outcome: (outcome.attained, -outcome.spent)):
        while found and (
            one.spent <= found[-1].spent or (len(found) > 1 and _above(found[-2], found[-1], one))
        ):
            found.pop()
        found.append(one)
    return found


def _above(left: Outcome, middle: Outcome, right: Outcome) -> bool:
    """Whether `middle` is not cheaper than the mixture of its neighbours that attains as much."""
    width = right.attained - left.attained
    along = (middle.attained - left.attained) / width if width else 1.0
    return middle.spent >= left.spent + along * (right.spent - left.spent)


def spent_at(attained: float, thresholds: Mapping[int, Outcome]) -> float | None:
    """USD of the cheapest mixture of two thresholds that attains as much; None: none does."""
    best = hull(thresholds.values())
    for left, right in itertools.pairwise(best):
        if left.attained < attained <= right.attained:
            along = (attained - left.attained) / (right.attained - left.attained)
            return left.spent + along * (right.spent - left.spent)
    return best[0].spent if attained <= best[0].attained else None


def cheapest(attained: float, thresholds: Mapping[int, Outcome], slack: float) -> int | None:
    """The one threshold that costs least of those that attain as much less `slack`."""
    enough = {n: one for n, one in thresholds.items() if one.attained >= attained - slack}
    return min(enough, key=lambda n: enough[n].spent, default=None)


def next_threshold(
    attained: float, thresholds: Mapping[int, Outcome], choice: Sequence[int]
) -> int | None:
    """Which of `choice` to try next, so that some attain less than `attained` and some as much,
    from the middle outwards; None: enough is known, or nothing is left to try."""
    tried = [n for n in thresholds if n]
    if not tried:
        return choice[len(choice) // 3]
    below = [n for n in tried if thresholds[n].attained < attained]
    larger = [n for n in choice if n > max(tried)]
    if len(below) < _BELOW and larger:
        return larger[0]
    smaller = [n for n in choice if n < min(tried)]
    return smaller[-1] if len(below) == len(tried) and smaller else None
