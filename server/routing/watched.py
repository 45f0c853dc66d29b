"""One attempt, as those hear of it who learn from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from server.chat.usage import Usage
from server.routing.affinity import Prefixes, Sessions
from server.routing.counts import Counts
from server.routing.flight import Flight
from server.routing.needs import Needs
from server.routing.observe_cloud import CloudFlight
from server.routing.prefix import Prefix
from server.routing.reading import ReadingOrder


@dataclass(slots=True)
class Watched:
    """Hears how a request fares at its target (means.Flight): its observer learns from that, and
    so do caches and sessions."""

    flight: Flight | CloudFlight
    sessions: Sessions
    needs: Needs
    name: str
    prefixes: Prefixes

    def reading(self) -> float:
        return self.flight.reading()

    async def turn(self) -> None:
        self.started(time.monotonic())

    def started(self, now: float, /) -> None:
        self.flight.started(now)

    def first(self, now: float, /) -> None:
        """The prompt has been read: it is in the target's cache."""
        needs = self.needs
        self.flight.first(now)
        self._cached(now)
        if needs.session is not None:
            self.sessions.went(needs.key, needs.session, self.name, now)

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        self.flight.end(now, usage)

    def _cached(self, now: float) -> None:
        self.prefixes.remember(self.needs.prefix, now)


@dataclass(slots=True)
class WatchedHere(Watched):
    """At an engine of this machine: its tokenizer is learnt from, too."""

    flight: Flight
    counts: Counts

    async def turn(self) -> None:
        """May be called again: by one whose engine died and came back."""
        self.flight.anew()
        self.started(time.monotonic())

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        Watched.end(self, now, usage)
        if usage is not None:
            self.counts.learn(self.needs, usage.prompt_tokens)


@dataclass(slots=True)
class WatchedInSlot(WatchedHere):
    """At a llama-server: it gets prompts by turns, in `order`, and what it has of one is in its
    slot until it has been answered, where no other request finds it."""

    order: ReadingOrder
    _leaves: Prefix = field(init=False)
    """What will be in the cache when this is over."""
    _over: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._leaves = self.prefixes.take(self.needs.prefix)

    async def turn(self) -> None:
        self.flight.anew()
        await self.order.turn(self.flight)

    def first(self, now: float, /) -> None:
        WatchedHere.first(self, now)
        self.order.passed()

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        if not self._over:
            self._over = True
            read = usage is not None or self.flight.first_at is not None
            self.prefixes.remember(self.needs.prefix if read else self._leaves, now)
        WatchedHere.end(self, now, usage)
        self.order.passed()

    def _cached(self, now: float) -> None:
        pass
