"""One attempt, as those hear of it who learn from it."""

from __future__ import annotations

import time

from server.chat.usage import Usage
from server.routing.affinity import Prefixes, Sessions
from server.routing.counts import Counts
from server.routing.flight import Flight
from server.routing.needs import Needs
from server.routing.observe_cloud import CloudFlight
from server.routing.reading import ReadingOrder


class Watched:
    """Hears how a request fares at its target (means.Flight): its observer learns from that, and
    so do caches and sessions."""

    def __init__(
        self,
        flight: Flight | CloudFlight,
        sessions: Sessions,
        needs: Needs,
        name: str,
        prefixes: Prefixes,
    ) -> None:
        self._flight = flight
        self._sessions = sessions
        self._needs = needs
        self._name = name
        self._prefixes = prefixes

    def reading(self) -> float:
        return self._flight.reading()

    async def turn(self) -> None:
        self.started(time.monotonic())

    def started(self, now: float, /) -> None:
        self._flight.started(now)

    def first(self, now: float, /) -> None:
        """The prompt has been read: it is in the target's cache."""
        needs = self._needs
        self._flight.first(now)
        self._cached(now)
        if needs.session is not None:
            self._sessions.went(needs.key, needs.session, self._name, now)

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        self._flight.end(now, usage)

    def _cached(self, now: float) -> None:
        self._prefixes.remember(self._needs.prefix, now)


class WatchedHere(Watched):
    """At an engine of this machine: its tokenizer is learnt from, too."""

    def __init__(
        self,
        flight: Flight,
        sessions: Sessions,
        needs: Needs,
        name: str,
        prefixes: Prefixes,
        counts: Counts,
    ) -> None:
        super().__init__(flight, sessions, needs, name, prefixes)
        self._counts = counts

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        super().end(now, usage)
        if usage is not None:
            self._counts.learn(self._needs, usage.prompt_tokens)


class WatchedInSlot(WatchedHere):
    """At a llama-server: it gets prompts by turns, in `order`, and what it has of one is in its
    slot until it has been answered, where no other request finds it."""

    def __init__(
        self,
        flight: Flight,
        sessions: Sessions,
        needs: Needs,
        name: str,
        prefixes: Prefixes,
        counts: Counts,
        order: ReadingOrder,
    ) -> None:
        super().__init__(flight, sessions, needs, name, prefixes, counts)
        self._here = flight
        self._order = order
        self._leaves = prefixes.take(needs.prefix)
        """What will be in the cache when this is over."""
        self._over = False

    async def turn(self) -> None:
        await self._order.turn(self._here)

    def first(self, now: float, /) -> None:
        super().first(now)
        self._order.passed()

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        if not self._over:
            self._over = True
            read = usage is not None or self._here.first_at is not None
            self._prefixes.remember(self._needs.prefix if read else self._leaves, now)
        super().end(now, usage)
        self._order.passed()

    def _cached(self, now: float) -> None:
        pass
