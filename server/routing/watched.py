"""One attempt, as those hear of it who learn from it."""

from __future__ import annotations

import time

from server.chat.usage import Usage
from server.routing.affinity import Prefixes, Sessions
from server.routing.counts import Counts
from server.routing.needs import Needs
from server.routing.observe import Flight
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
        self._prefixes.remember(needs.prefix, now)
        if needs.session is not None:
            self._sessions.went(needs.key, needs.session, self._name, now)

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        self._flight.end(now, usage)


class WatchedHere(Watched):
    """At an engine of this machine: its tokenizer is learnt from, too. `order`: in which it gets
    prompts; None: as they come."""

    def __init__(
        self,
        flight: Flight,
        sessions: Sessions,
        needs: Needs,
        name: str,
        prefixes: Prefixes,
        counts: Counts,
        order: ReadingOrder | None,
    ) -> None:
        super().__init__(flight, sessions, needs, name, prefixes)
        self._here = flight
        self._counts = counts
        self._order = order

    async def turn(self) -> None:
        if self._order is None:
            await super().turn()
        else:
            await self._order.turn(self._here)

    def first(self, now: float, /) -> None:
        super().first(now)
        if self._order is not None:
            self._order.passed()

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        super().end(now, usage)
        if self._order is not None:
            self._order.passed()
        if usage is not None:
            self._counts.learn(self._needs, usage.prompt_tokens)
