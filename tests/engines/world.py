"""A world for the fleet's decisions: clients, models and a clock, all of them pretended.

It does with a decision what the fleet does, and tells who was served, and how long anyone waited.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from server.engines.decision import decide
from server.engines.occupant import Occupant
from server.engines.rhythm import Rhythm
from server.engines.transition import after, settled

POOL = "g"


@dataclass(frozen=True)
class Client:
    """Asks for `models` in turn; the next request `think` seconds after each answer."""

    models: tuple[int, ...]
    think: float
    service: float
    """Seconds that an answer takes."""


@dataclass
class Build:
    occupant: Occupant
    slots: int = 2
    queue: list[tuple[float, Client, int]] = field(default_factory=list)
    running: int = 0
    rhythm: Rhythm = field(default_factory=Rhythm)
    asked_since: float = 0.0
    idle_since: float = 0.0
    ready_since: float = 0.0
    requests: int = 0


class World:
    """Models of (load seconds, size) that share `capacity`. `anticipates`: False pretends that no
    next request is ever expected."""

    def __init__(
        self,
        models: Sequence[tuple[float, int]],
        capacity: int,
        *,
        anticipates: bool = True,
        slots: int = 2,
    ) -> None:
        self.now = 0.0
        self.served = 0
        self.loads = 0
        self.loading = 0.0
        """Seconds."""
        self.longest_wait = 0.0
        self._capacity = {POOL: capacity}
        self._anticipates = anticipates
        self._count = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._builds = [
            Build(
                Occupant(str(n), {POOL: size}, frozenset((POOL,)), "off", load_seconds=load), slots
            )
            for n, (load, size) in enumerate(models)
        ]

    def run(self, clients: Sequence[Client], seconds: float) -> World:
        for number, client in enumerate(clients):
            self._at(0.001 * number, partial(self._ask, client, 0))
        again: float | None = None
        while self._events or again is not None:
            following = self._events[0][0] if self._events else float("inf")
            time = min(following, float("inf") if again is None else again)
            if time > seconds:
                break
            self.now = time
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            again = self._decide()
        self.now = seconds
        for build in self._builds:
            self.longest_wait = max([self.longest_wait, *(seconds - one[0] for one in build.queue)])
        return self

    def _at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._count), what))

    def _ask(self, client: Client, number: int) -> None:
        build = self._builds[client.models[number % len(client.models)]]
        if build.requests and not build.running and not build.queue:
            build.rhythm.resume(self.now - build.idle_since, loaded=self._open(build))
        build.requests += 1
        if not self._open(build) and not build.queue:
            build.asked_since = self.now
        build.queue.append((self.now, client, number))
        self._serve(build)

    def _open(self, build: Build) -> bool:
        return build.occupant.phase == "ready" and not build.occupant.draining

    def _serve(self, build: Build) -> None:
        while self._open(build) and build.queue and build.running < build.slots:
            since, client, number = build.queue.pop(0)
            self.longest_wait = max(self.longest_wait, self.now - since)
            build.running += 1
            self._at(self.now + client.service, partial(self._answer, build, client, number))

    def _answer(self, build: Build, client: Client, number: int) -> None:
        build.running -= 1
        self.served += 1
        if not build.running:
            build.idle_since = self.now
            build.rhythm.rest()
        self._serve(build)
        self._at(self.now + client.think, lambda: self._ask(client, number + 1))

    def _seen(self, build: Build) -> Occupant:
        one, now = build.occupant, self.now
        idle = now - max(build.idle_since, build.ready_since)
        seen = {
            "running": build.running,
            "waiting": len(build.queue),
            "waited": now - build.asked_since,
            "idle": 0.0 if build.running else idle,
            "served": now - build.ready_since,
            "pause": build.rhythm.pause if self._anticipates else None,
        }
        return replace(one, **seen)  # type: ignore[arg-type]

    def _decide(self) -> float | None:
        decision = decide([self._seen(build) for build in self._builds], self._capacity)
        for build in self._builds:
            before = build.occupant
            draining = before.name in decision.draining and before.phase == "ready"
            begun = after(before, decision.actions)
            build.occupant = replace(begun, draining=draining)
            if begun.phase != before.phase:
                if before.phase == "ready":
                    build.asked_since = self.now
                takes = begun.load_seconds if begun.phase == "starting" else 0.05
                self._at(self.now + takes, partial(self._done, build))
            self._serve(build)
        return None if decision.again is None else self.now + max(decision.again, 1e-6)

    def _done(self, build: Build) -> None:
        build.occupant = settled(build.occupant)
        if build.occupant.phase == "ready":
            self.loads += 1
            self.loading += build.occupant.load_seconds
            build.ready_since = self.now
            for other in self._builds:
                if other is not build:
                    other.rhythm.overtake()
            self._serve(build)
