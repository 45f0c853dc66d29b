"""How long an engine keeps its place while others wait for its memory: its turn. Pure.

A turn lasts as long as its engine took to come, so that no more than half of the time goes into
loading. Those who wait for another model gather in its queue meanwhile, and are served together.

In its turn an engine also stays when it has nothing to do for a moment, if its next request is
expected sooner than a load would take (Iyer and Druschel, "Anticipatory scheduling", SOSP 2001).
Clients that wait for an answer before they send the next request would otherwise have models
swapped at each one. Nothing is kept for longer than a load takes, nor for somebody of whom it is
not known that they come back so soon (rhythm.py).

Nobody starves: what has been waited for longest is loaded first (decision.py), and an engine that
lost its place is waited for anew from then on. Of models that exclude one another each one is
loaded again after at most a turn and a load of each of the others; a turn ends with the answers
that run when it has lasted for LONGEST seconds at most.
"""

from __future__ import annotations

from typing import Final

from server.engines.occupant import Occupant

SHORTEST: Final = 2.0
"""Seconds of a turn, however quickly its engine came."""
LONGEST: Final = 300.0
"""Seconds of a turn, however slowly."""
_PATIENCE: Final = 4.0
"""Times the expected pause that is waited for: pauses vary."""
_SLACK: Final = 0.1
"""Seconds on top, for the way to the client and back."""


def keeps(one: Occupant) -> float:
    """Seconds for which `one` keeps its place from now on, if nothing happens; 0: it may go."""
    if one.phase != "ready" or one.draining or one.leaving or one.unload:
        return 0.0
    came = one.wake_seconds if one.woken else one.load_seconds
    left = min(LONGEST, max(SHORTEST, came)) - one.served
    if one.busy or one.urgent:
        return max(0.0, left)
    if one.pause is None or one.pause > came or one.pause - one.idle >= left:
        return 0.0
    patience = min(came, _PATIENCE * one.pause + _SLACK)
    return max(0.0, min(left, patience - one.idle))
