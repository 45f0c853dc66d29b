"""A build of the fleet as decisions see it: what it takes, what it does, and who wants it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Memory = Mapping[str, int]
"""Bytes by memory pool: a GPU's id, or "ram"."""

Phase = Literal["off", "failed", "starting", "ready", "dozing", "asleep", "stopping"]
"""What its engine does. `starting`: loading, waking, or between a crash and the next launch.
`dozing` and `stopping`: on the way to `asleep` and `off`, still holding everything."""


@dataclass(frozen=True, slots=True)
class Occupant:
    name: str
    """The build's full name; unique among those that are not leaving."""
    needs: Memory
    """What it takes while it runs."""
    devices: frozenset[str]
    """What it computes on: on each of them one engine starts at a time."""
    phase: Phase
    asleep: Memory | None = None
    """What it holds while asleep; None: its engine cannot sleep."""
    pinned: bool = False
    """Never evicted."""
    leaving: bool = False
    """No longer planned, or not so: it ends as soon as nothing of it runs."""
    resident: bool = False
    """Evicted, it comes back as soon as there is room."""
    wanted: bool = False
    """It is to run where that needs no eviction: a resident, a preloaded one, one asked for."""
    urgent: bool = False
    """Somebody waits for it without a request: others make room for it."""
    unload: bool = False
    """Somebody asked for its end: it ends as soon as nothing of it runs."""
    draining: bool = False
    """Its queue is paused, so that it may end once what runs has finished."""
    running: int = 0
    """Slots in use."""
    waiting: int = 0
    """Requests that wait for it."""
    waited: float = 0.0
    """Seconds since the first of those who wait now began to."""
    idle: float = 0.0
    """Seconds since it last had a request, or since it is ready."""
    served: float = 0.0
    """Seconds since it is ready."""
    woken: bool = False
    """Whether it slept before that, and was not loaded."""
    pause: float | None = None
    """Seconds from its last answer to the next request that are to be expected (see rhythm.py)."""
    ttl: float | None = None
    """Seconds of idleness after which it is unloaded; None: only when its memory is needed."""
    load_seconds: float = 1.0
    wake_seconds: float = 0.1
    demand: float = 0.0
    """Requests lately, those long ago counting less (see usage.py)."""

    @property
    def busy(self) -> bool:
        return self.running > 0 or self.waiting > 0

    @property
    def asked(self) -> bool:
        """Whether somebody waits for it."""
        return self.waiting > 0 or self.urgent

    @property
    def holds(self) -> Memory:
        """What it holds at most in its phase."""
        if self.phase in ("off", "failed"):
            return {}
        if self.phase == "asleep":
            return self.asleep or {}
        if self.phase == "dozing":
            return most(self.needs, self.asleep or {})
        return self.needs


@dataclass(frozen=True, slots=True)
class Room:
    """Memory that is free, by pool; below zero where more was promised than there is."""

    free: Memory = field(default_factory=dict)

    @classmethod
    def beside(cls, occupants: Iterable[Occupant], capacity: Memory) -> Room:
        """What of `capacity` bytes the occupants leave."""
        return cls(capacity).less(*(one.holds for one in occupants))

    def less(self, *taken: Memory) -> Room:
        free = dict(self.free)
        for memory in taken:
            for pool, size in memory.items():
                free[pool] = free.get(pool, 0) - size
        return Room(free)

    def more(self, *given: Memory) -> Room:
        return self.less(*({pool: -size for pool, size in one.items()} for one in given))

    def short(self, needs: Memory) -> Memory:
        """Bytes missing for `needs`, by pool; empty where it fits."""
        missing = {pool: size - self.free.get(pool, 0) for pool, size in needs.items() if size}
        return {pool: size for pool, size in missing.items() if size > 0}

    def holds(self, needs: Memory) -> bool:
        return not self.short(needs)


def most(first: Memory, second: Memory) -> Memory:
    """The larger of both in each pool."""
    pools = dict.fromkeys((*first, *second))
    return {pool: max(first.get(pool, 0), second.get(pool, 0)) for pool in pools}
