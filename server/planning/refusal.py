"""Why a demand cannot be met: which part of it, by how much, and what comes nearest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from server.errors import DoesNotFit
from server.planning.alike import alike
from server.planning.candidate import Candidate, candidates
from server.planning.demand import Demand, Wish
from server.planning.plan import Option, Rejection
from server.planning.rig import Rig
from server.planning.room import capacity
from server.units import MIB, format_bytes


def refusal(
    options: Sequence[Option],
    demand: Demand,
    rig: Rig,
    rejections: Sequence[Rejection],
    is_possible: Callable[[Demand], bool],
) -> DoesNotFit:
    """The error for a demand that no plan meets. `is_possible` says whether one meets another."""
    required = [wish for wish in demand.wishes if wish.pin or not demand.auto]
    found = list(candidates(options, demand, [1.0] * len(demand.wishes), rig, alike(rig)))
    for wish in required:
        if not any(c.wish == wish for c in found):
            return _alone(wish, rejections)
    return _together(required, found, demand, rig, is_possible)


def _alone(wish: Wish, rejections: Sequence[Rejection]) -> DoesNotFit:
    """No option at all: the build that comes nearest says why."""
    mine = [r for r in rejections if r.name.partition(":")[0] == wish.model]
    mine = [r for r in mine if wish.build is None or r.name == wish.name]
    least = min(mine, key=lambda r: (sum(r.short.values()) or float("inf"), r.name), default=None)
    slots = f"{wish.slots} x " if wish.slots > 1 else ""
    asked = f"{slots}{wish.context} tokens of context"
    return DoesNotFit(
        f"{wish.name} cannot be served here with {asked}",
        why=f"{least.name}: {least.reason}" if least else "it has no build that runs here",
        next_step="Ask for less context, fewer slots or less speed, choose a smaller model or "
        "build, or free memory",
    )


def _together(
    required: Sequence[Wish],
    found: Sequence[Candidate],
    demand: Demand,
    rig: Rig,
    is_possible: Callable[[Demand], bool],
) -> DoesNotFit:
    """Each fits alone and not all do."""
    pinned = [wish for wish in required if wish.pin]
    names = ", ".join(wish.name for wish in pinned or required)
    least = sum(min(c.size for c in found if c.wish == wish) for wish in pinned)
    free = sum(capacity(rig).values())
    why = "each fits alone, but no arrangement on these devices holds all of them"
    if least > free:
        why = (
            f"they need {format_bytes(least * MIB)} at the least, {format_bytes(free * MIB)} are "
            f"free on all devices together: {format_bytes((least - free) * MIB)} are missing"
        )
    elif not pinned:
        why = f"the disk has room for {format_bytes(rig.disk_free)} more"
    return DoesNotFit(
        f"{names} cannot all be {'resident' if pinned else 'served'} at once",
        why=why,
        next_step=_nearest(pinned or required, demand, is_possible),
    )


def _nearest(asked: Sequence[Wish], demand: Demand, is_possible: Callable[[Demand], bool]) -> str:
    """What to give up: a pin, the lightest model's first; else a model."""
    for wish in sorted(asked, key=lambda wish: (wish.weight, wish.name)):
        loose = tuple(replace(w, pin=False) if w == wish else w for w in demand.wishes)
        if wish.pin and is_possible(replace(demand, wishes=loose)):
            return f"It fits if {wish.name} is not pinned and is loaded on demand"
    loose = tuple(replace(wish, pin=False) for wish in demand.wishes)
    if loose != demand.wishes and is_possible(replace(demand, wishes=loose)):
        return "It fits if none of them is pinned, and they are loaded on demand in turns"
    for wish in sorted(asked, key=lambda wish: (wish.weight, wish.name)):
        fewer = tuple(w for w in demand.wishes if w != wish)
        if is_possible(replace(demand, wishes=fewer)):
            return f"It fits without {wish.name}"
    return "Pin fewer models, or choose smaller ones"
