"""An engine in simulated time: slots, one prompt read after the other, decoding beside it.

It works as llama-server does, in steps: a step reads up to `batch` tokens of the prompts of those
that have a slot, first come first served, and gives each that is decoding its next token. So
reading holds up who decodes, and every busy slot makes a step longer. Nothing of the predictor is
in here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Request:
    at: float
    prompt: int
    answer: int
    cached: int = 0
    started: float | None = None
    first: float | None = None
    ended: float | None = None
    unread: int = 0
    come: int = 0
    notes: dict[str, object] = field(default_factory=dict)


Listener = Callable[[str, Request, float], None]


class Engine:
    """`reads`: prompt tokens a second; `step`: seconds of a step that one request decodes in, and
    `more` for each further one; `fixed`: seconds that a request takes beside that."""

    def __init__(
        self,
        slots: int,
        *,
        reads: float,
        step: float,
        more: float,
        fixed: float = 0.0,
        batch: int = 512,
        tell: Listener,
    ) -> None:
        self.now = 0.0
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self._slots = slots
        self._reads, self._step, self._more = reads, step, more
        self._fixed, self._batch = fixed, batch
        self._tell = tell

    def ask(self, request: Request) -> None:
        """A request comes, at `now`."""
        self.waiting.append(request)
        self._seat()

    def run_until(self, time: float) -> None:
        """Work until `time`, or until there is nothing left to do if that is infinite."""
        while self.running and self.now < time:
            self._do_step()
        if time != float("inf"):
            self.now = max(self.now, time)

    def _seat(self) -> None:
        while self.waiting and len(self.running) < self._slots:
            request = self.waiting.popleft()
            request.started = self.now
            request.unread = max(1, request.prompt - request.cached)
            self.running.append(request)
            self._tell("started", request, self.now)

    def _do_step(self) -> None:
        room = self._batch
        seconds = 0.0
        read: list[Request] = []
        for request in self.running:
            if request.unread and room:
                taken = min(room, request.unread)
                request.unread -= taken
                room -= taken
                seconds += taken / self._reads
                if not request.unread:
                    seconds += self._fixed
                    read.append(request)
        decoding = [r for r in self.running if not r.unread and r.first is not None]
        if decoding:
            seconds += self._step + self._more * (len(decoding) - 1)
        self.now += seconds
        for request in decoding:
            request.come += 1
        for request in read:
            request.first, request.come = self.now, 1
            self._tell("first", request, self.now)
        for request in [r for r in self.running if r.come >= r.answer]:
            request.ended = self.now
            self.running.remove(request)
            self._tell("ended", request, self.now)
        self._seat()
