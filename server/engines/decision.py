"""What the fleet does next, from what runs, what is planned and who waits. Pure.

`decide` looks at everything anew each time and says what can begin now, so that nothing has to be
undone when an engine dies or a client leaves in between.

Rules: the memory of all that runs, starts or stops never exceeds the capacity of a pool. On each
device one engine starts at a time. What is busy or pinned is never evicted; a busy one whose turn
(turn.py) is over is drained, so that models in constant use take turns and none starves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from server.engines.eviction import Eviction, evict, evictable
from server.engines.occupant import Memory, Occupant, Room
from server.engines.turn import keeps


@dataclass(frozen=True, slots=True)
class Action:
    kind: Literal["start", "wake", "stop", "sleep"]
    name: str
    reason: str
    leaving: bool = False
    """Whether it is the one of that name which is no longer planned so."""
    evicts: bool = False
    """Whether it makes room for another."""

    def __str__(self) -> str:
        doing = {"start": "starts", "wake": "wakes", "stop": "stops", "sleep": "goes to sleep"}
        return f"{self.name} {doing[self.kind]}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An engine that is asked for and can never run beside what must stay."""

    name: str
    short: Memory
    """Bytes missing by pool, with all gone that may ever go."""
    stay: tuple[str, ...]
    """Pinned engines that hold memory there."""


@dataclass(frozen=True, slots=True)
class Decision:
    actions: tuple[Action, ...] = ()
    """What is to begin now."""
    draining: frozenset[str] = frozenset()
    """Whose queues are to be paused; those of all others are not."""
    refusals: tuple[Refusal, ...] = ()
    waits: tuple[tuple[str, str], ...] = ()
    """What each engine that is to run waits for, in words."""
    again: float | None = None
    """Seconds after which time alone changes the decision; None: it does not."""


def decide(occupants: Sequence[Occupant], capacity: Memory) -> Decision:
    """What to do now with `capacity` bytes by pool for all engines together."""
    return _Moment(occupants, capacity).decision()


@dataclass(slots=True)
class _Moment:
    """One decision in the making: what is left of memory and devices as it grows."""

    occupants: Sequence[Occupant]
    capacity: Memory
    actions: list[Action] = field(default_factory=list)
    draining: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)
    waits: list[tuple[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    going: set[tuple[str, bool]] = field(default_factory=set)
    """Who ends or falls asleep by this decision, or is meant to as soon as it is quiet."""
    locked: set[str] = field(default_factory=set)
    """Devices on which an engine starts."""
    room: Room = field(default_factory=Room)
    """Free, and not promised to a start that comes first."""

    def decision(self) -> Decision:
        self.room = Room.beside(self.occupants, self.capacity)
        for one in self.occupants:
            if one.phase == "starting":
                self.locked |= one.devices
        for one in self.occupants:
            self._end(one)
        for one in sorted(filter(_to_start, self.occupants), key=_urgency):
            self._begin(one)
        return Decision(
            tuple(self.actions),
            frozenset(self.draining),
            tuple(self.refusals),
            tuple(self.waits),
            min(self.times, default=None),
        )

    def _end(self, one: Occupant) -> None:
        """End what is no longer planned, and what has been idle for its ttl."""
        if one.leaving:
            self._leave(one)
        elif one.unload:
            self._unload(one)
        elif one.ttl is not None and one.phase == "ready" and not one.pinned and not one.asked:
            if one.running:
                self.times.append(max(one.ttl, 1.0))
            elif one.idle < one.ttl:
                self.times.append(one.ttl - one.idle)
            else:
                self._retire(one)

    def _leave(self, one: Occupant) -> None:
        if one.phase not in ("starting", "ready", "asleep"):
            return
        followed = any(other.name == one.name and not other.leaving for other in self.occupants)
        if followed:  # those who wait keep their place for its successor
            self.draining.add(one.name)
        if one.running == 0 and (followed or one.waiting == 0 or one.phase != "ready"):
            reason = "it is to run otherwise" if followed else "it is no longer planned"
            self._do(Action("stop", one.name, reason, leaving=True))
        self.going.add((one.name, one.leaving))

    def _unload(self, one: Occupant) -> None:
        if one.phase not in ("starting", "ready", "asleep"):
            return
        self.draining.add(one.name)
        if one.running == 0:
            self._do(Action("stop", one.name, "it was asked to unload"))

    def _retire(self, one: Occupant) -> None:
        reason = f"it has been idle for {one.idle:.0f} s"
        if one.asleep is None or not self._lie_down(Action("sleep", one.name, reason), one):
            self._do(Action("stop", one.name, reason))

    def _lie_down(self, action: Action, one: Occupant) -> bool:
        """Put it to sleep if what it takes of RAM for that is free now. Returns whether it is.

        What it gives back is free only when it sleeps.
        """
        frees = Eviction(one, "sleep").frees
        takes = {pool: -size for pool, size in frees.items() if size < 0}
        if not self.room.holds(takes):
            return False
        self.room = self.room.less(takes)
        self._do(action)
        return True

    def _begin(self, one: Occupant) -> None:
        """Start or wake `one`, or begin to make room for it."""
        more = _further(one)
        if self.room.holds(more) and self._free_to_start(one):
            self.room = self.room.less(more)
            self.locked |= one.devices
            kind: Literal["wake", "start"] = "wake" if one.phase == "asleep" else "start"
            self._do(Action(kind, one.name, _why(one)), going=False)
            return
        if not self.room.holds(more):
            coming = self._with_those_that_go(self.room)
            if not coming.holds(more) and not (one.asked or one.pinned):
                self._refuse(one)  # or else it waits for room that comes by itself
                return
            if not coming.holds(more) and not self._make_room(one, more, coming):
                return
        self.room = self.room.less(more)  # theirs, as soon as it is free

    def _free_to_start(self, one: Occupant) -> bool:
        predecessor = any(
            other.name == one.name and other.leaving and other.phase != "off"
            for other in self.occupants
        )
        if predecessor:
            self.waits.append((one.name, f"the former engine of {one.name} to finish"))
        elif self.locked & one.devices:
            self.waits.append((one.name, "another engine to load"))
        return not predecessor and not self.locked & one.devices

    def _make_room(self, one: Occupant, more: Memory, coming: Room) -> bool:
        """Evict for `one`, or drain for it. Returns whether that gets it its room."""
        others = [other for other in self.occupants if self._may_go(other, one)]
        victims = evict(more, coming, others)
        if victims is not None:
            for victim in victims:
                self._evict(victim, one)
            self.waits.append((one.name, "room: " + _listed(v.occupant.name for v in victims)))
            return True
        return self._drain(one, more, coming, others)

    def _drain(self, one: Occupant, more: Memory, coming: Room, others: Sequence[Occupant]) -> bool:
        """Pause the queues of those in its way, as soon as all of them have had their turn."""
        found = evict(more, coming, others, later=True)
        if found is None:
            self._refuse(one)
            return False
        victims = [eviction.occupant for eviction in found]
        names = sorted(victim.name for victim in victims)
        self.waits.append((one.name, f"room: {_listed(names)} to finish"))
        left = max(map(keeps, victims))
        if left > 0:
            self.times.append(left)
        for victim in victims:
            self.going.add((victim.name, victim.leaving))
            served = left <= 0 and victim.phase == "ready" and victim.busy
            if victim.draining or served:
                self.draining.add(victim.name)
        return True

    def _refuse(self, one: Occupant) -> None:
        """Say that it can never run, where not even with all others gone there is room for it."""
        stay = [
            other
            for other in self.occupants
            if other.pinned and other != one and not other.leaving and other.phase != "failed"
        ]
        short = Room(self.capacity).less(*(other.needs for other in stay)).short(one.needs)
        if not short:
            self.waits.append((one.name, "room"))
            return
        holders = tuple(o.name for o in stay if any(o.needs.get(pool) for pool in short))
        self.refusals.append(Refusal(one.name, short, holders))

    def _may_go(self, other: Occupant, one: Occupant) -> bool:
        going = (other.name, other.leaving) in self.going
        return not going and other != one and not other.pinned and not other.leaving

    def _evict(self, victim: Eviction, one: Occupant) -> None:
        assert evictable(victim.occupant)
        reason = f"{one.name} needs its memory"
        action = Action(victim.how, victim.occupant.name, reason, evicts=True)
        if victim.how == "stop":
            self._do(action)
        elif not self._lie_down(action, victim.occupant):
            self.going.add((victim.occupant.name, False))  # as soon as RAM is free for it
        if victim.occupant.draining:
            self.draining.add(victim.occupant.name)

    def _with_those_that_go(self, room: Room) -> Room:
        """`room` once all that ends or falls asleep has done so, what was promised left out."""
        for other in self.occupants:
            going = (other.name, other.leaving) in self.going
            sleeps = other.phase == "dozing" or any(
                a.kind == "sleep" and (a.name, a.leaving) == (other.name, other.leaving)
                for a in self.actions
            )
            if other.phase in ("dozing", "stopping") or going:
                room = room.more(other.holds)
                room = room.less(other.asleep or {}) if sleeps else room
        return room

    def _do(self, action: Action, *, going: bool = True) -> None:
        self.actions.append(action)
        if going:
            self.going.add((action.name, action.leaving))


def _to_start(one: Occupant) -> bool:
    if one.leaving or one.phase not in ("off", "asleep"):
        return False
    return one.asked or (one.wanted and one.phase == "off")


def _urgency(one: Occupant) -> tuple[bool, bool, float]:
    """Pinned ones first, then whoever is waited for longest, then the rest in their order."""
    return (not one.pinned, not one.asked, -one.waited)


def _further(one: Occupant) -> Memory:
    """Bytes by pool that it takes beyond what it holds now."""
    held = one.holds
    return {pool: size - held.get(pool, 0) for pool, size in one.needs.items()}


def _why(one: Occupant) -> str:
    if one.waiting:
        return "a request waits for it"
    return "it was asked for" if one.urgent else "it is planned"


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)
