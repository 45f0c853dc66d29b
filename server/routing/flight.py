"""One request at an engine of this machine, from when it is decided to its end.

Times are monotonic seconds, given by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.chat.usage import Usage
from server.routing.affinity import Cached
from server.routing.candidate import Forecast

if TYPE_CHECKING:
    from server.routing.observe import Observer


class Flight:
    """Made by `begin` of an observer, which learns from what it is told here."""

    __slots__ = ("_of", "ahead", "asked_at", "busy", "due", "first_at", "foretold", "guess",
                 "last", "limit", "prompt", "read", "scale", "seated_at", "slots", "started_at",
                 "thought")  # fmt: skip

    def __init__(
        self,
        of: Observer,
        guess: int,
        thought: Cached,
        prompt: float,
        limit: int | None,
        slots: int,
        scale: float,
    ) -> None:
        self._of = of
        self.thought = thought
        """What should be in a cache."""
        self.guess = guess
        """Tokens of the whole prompt as estimated from above."""
        self.prompt = prompt
        """Tokens that are expected to be in no cache."""
        self.scale = scale
        """Tokens that it should have for each of that estimate."""
        self.limit = limit
        self.slots = slots
        self.asked_at = 0.0
        self.foretold: Forecast | None = None
        """What was, at `asked_at`; None: nothing that it could be held to."""
        self.seated_at: float | None = None
        self.started_at: float | None = None
        self.first_at: float | None = None
        self.due = 0.0
        """When its prompt should have been read, once it was started."""
        self.ahead = 0.0
        self.busy = 0.0
        self.read = 0.0
        self.last = False
        """Whether no prompt came after it into the batches in which it was read."""

    def reading(self) -> float:
        """Seconds that all prompts which the engine has in hand should take it in all."""
        return self._of.reading()

    def seated(self, now: float) -> None:
        """It has got its slot."""
        if self.seated_at is None:
            self._of.seat(self, now)

    def started(self, now: float) -> None:
        """The engine has got its prompt: at the earliest with its slot."""
        self.seated(now)
        if self.started_at is None:
            self._of.start(self, now)

    def anew(self) -> None:
        """What it was begun with, if it was, has gone: its engine died. Its prompt is to be read
        again, and nothing was foretold of that."""
        if self.started_at is not None:
            self.started_at = self.foretold = None

    def first(self, now: float) -> None:
        """Its first token has come."""
        if self.started_at is not None and self.first_at is None:
            self._of.hear(self, now)

    def end(self, now: float, usage: Usage | None = None) -> None:
        """It is over; `usage` where it was answered to its end. May be called again."""
        self._of.finish(self, now, usage)
