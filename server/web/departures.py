"""Clients that leave. A task for each request, to wait for that, would cost a small one a tenth of
its time (measured)."""

from __future__ import annotations

from collections.abc import Callable

EXTENSION = "holdfast.departures"
"""Where it is in a request's scope."""


class Departures:
    """Who is to be told when the client of one connection leaves."""

    __slots__ = ("_gone", "_told")

    def __init__(self) -> None:
        self._gone = False
        self._told: set[Callable[[], None]] = set()

    def add(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the client has left, which may be at once."""
        if self._gone:
            tell()
        else:
            self._told.add(tell)

    def discard(self, tell: Callable[[], None]) -> None:
        """Do so no more."""
        self._told.discard(tell)

    def leave(self) -> None:
        """The client has left."""
        self._gone = True
        while self._told:
            self._told.pop()()
