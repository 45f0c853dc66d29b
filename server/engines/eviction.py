"""Who makes room for an engine that is asked for. Pure.

Of all sets of idle engines whose end (or sleep) frees enough in every pool, the one that is likely
to cost the least: the seconds to bring an engine back, times its demand. Demand counts requests,
recent ones more (usage.py), so that both how often and how long ago an engine was used are in it
(LRFU, Lee et al. 2001); between equals the one that has been idle longest goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.engines.occupant import Memory, Occupant, Room
from server.engines.turn import keeps

_EXHAUSTIVE = 10
"""Candidates up to which every set is looked at: 3^10 at the most, mostly cut short."""
_LEAST_DEMAND = 1e-6
"""So that among engines that nobody asks for the one that loads faster goes."""

Cost = tuple[float, int, float]


@dataclass(frozen=True, slots=True)
class Eviction:
    occupant: Occupant
    how: Literal["stop", "sleep"]

    @property
    def frees(self) -> Memory:
        """Bytes by pool; below zero where sleeping takes more than running."""
        kept = (self.occupant.asleep or {}) if self.how == "sleep" else {}
        return Room(self.occupant.holds).less(kept).free

    @property
    def cost(self) -> Cost:
        """Expected seconds lost, engines touched, and how recently it was used."""
        one = self.occupant
        if one.draining or one.leaving:
            return (0.0, 1, 0.0)
        asleep = self.how == "sleep" or one.phase == "asleep"
        back = one.wake_seconds if asleep else one.load_seconds
        return (back * (one.demand + _LEAST_DEMAND), 1, 1 / (1 + one.idle))


def evictable(one: Occupant, *, later: bool = False) -> bool:
    """Whether it may be ended for another's sake now: nothing runs, nobody waits, it does not keep
    its place for who comes next (turn.py), and it is not pinned.

    One whose queue was paused for this may go though requests wait: they wait for it to come back.
    `later`: whether that can come to be, once its queue is paused and what runs has finished.
    """
    quiet = one.running == 0 and (one.draining or not one.asked) and not keeps(one)
    return (quiet or later) and not one.pinned and one.phase in ("starting", "ready", "asleep")


def evict(
    needs: Memory, room: Room, candidates: Sequence[Occupant], *, later: bool = False
) -> tuple[Eviction, ...] | None:
    """What must go so that `needs` fits into `room`: a smallest set; None if nothing suffices.

    Only what `evictable` allows goes, and no member of the answer could be left out.
    """
    missing = room.short(needs)
    if not missing:
        return ()
    able = [one for one in candidates if evictable(one, later=later)]
    useful = [
        ways
        for one in sorted(able, key=lambda one: (_cheapest(one), one.name))
        if (ways := [way for way in _ways(one) if _helps(way, missing)])
    ]
    if len(useful) > _EXHAUSTIVE:
        return _greedy(needs, room, useful)
    return _Search(needs, room, useful).best(room)


def _ways(one: Occupant) -> tuple[Eviction, ...]:
    stop = Eviction(one, "stop")
    can_sleep = one.asleep is not None and one.phase == "ready" and not one.leaving
    return (Eviction(one, "sleep"), stop) if can_sleep else (stop,)


def _cheapest(one: Occupant) -> Cost:
    return min(way.cost for way in _ways(one))


def _helps(way: Eviction, missing: Memory) -> bool:
    frees = way.frees
    return any(frees.get(pool, 0) > 0 for pool in missing)


def _plus(first: Cost, second: Cost) -> Cost:
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2])


class _Search:
    """Branch and bound over what happens to each candidate: nothing, sleep or stop."""

    def __init__(self, needs: Memory, room: Room, useful: Sequence[Sequence[Eviction]]) -> None:
        self._needs = needs
        self._least = {pool: min(0, size) for pool, size in room.free.items()}
        self._useful = useful
        self._best: tuple[Eviction, ...] | None = None
        self._cost: Cost | None = None

    def best(self, room: Room) -> tuple[Eviction, ...] | None:
        self._look(0, room, (), (0.0, 0, 0.0))
        return self._best

    def _look(self, depth: int, room: Room, chosen: tuple[Eviction, ...], cost: Cost) -> None:
        if self._cost is not None and cost >= self._cost:
            return
        if room.holds(self._needs) and self._sound(room):
            self._best, self._cost = chosen, cost
            return
        if depth == len(self._useful):
            return
        self._look(depth + 1, room, chosen, cost)
        for way in self._useful[depth]:
            self._look(depth + 1, room.more(way.frees), (*chosen, way), _plus(cost, way.cost))

    def _sound(self, room: Room) -> bool:
        """Whether sleepers find room in RAM: no pool is promised beyond what it has, or, where
        it was before because a stranger took of it, no further."""
        return all(size >= self._least.get(pool, 0) for pool, size in room.free.items())


def _greedy(
    needs: Memory, room: Room, useful: Sequence[Sequence[Eviction]]
) -> tuple[Eviction, ...] | None:
    """Stop the cheapest until it is enough, then spare whoever turned out not to be needed."""
    chosen: list[Eviction] = []
    for ways in useful:
        if room.holds(needs):
            break
        chosen.append(ways[-1])
        room = room.more(ways[-1].frees)
    if not room.holds(needs):
        return None
    for way in reversed(tuple(chosen)):
        if room.less(way.frees).holds(needs):
            chosen.remove(way)
            room = room.less(way.frees)
    return tuple(chosen)
