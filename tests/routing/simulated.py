"""An engine in simulated time: Holdfast's queue for its slots, and llama-server's batches.

It works as llama-server does, in steps: a step reads up to `batch` tokens of the prompts of those
that have a slot, first come first served, and gives each that is decoding its next token. So
reading holds up who decodes, every busy slot makes a step longer, prompts that are read in one step
have their first tokens at the same time, and who comes during a step waits for its end. With
`one_by_one` it gets a prompt only when it has read the one before. Nothing of the predictor is in
here.
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
    seated: float | None = None
    started: float | None = None
    first: float | None = None
    ended: float | None = None
    unread: int = 0
    come: int = 0
    notes: dict[str, object] = field(default_factory=dict)


Listener = Callable[[str, Request, float], None]


@dataclass
class _Step:
    ends: float
    read: list[tuple[Request, int]]
    """With how many tokens of its prompt."""
    decoding: list[Request]


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
        batch: int = 2048,
        one_by_one: bool = False,
        tell: Listener,
    ) -> None:
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self._slots = slots
        self._reads, self._per_step, self._more = reads, step, more
        self._fixed, self._batch = fixed, batch
        self._one_by_one = one_by_one
        self._tell = tell
        self._step: _Step | None = None

    def ask(self, request: Request) -> None:
        """A request comes, at its time. The engine must have been run until then."""
        self.waiting.append(request)
        self._seat(request.at)

    def run_until(self, time: float) -> None:
        """Do all steps that end by `time`; the one under way then goes on."""
        while self._step is not None and self._step.ends <= time:
            self._finish(self._step)

    def _seat(self, now: float) -> None:
        while self.waiting and len(self.running) < self._slots:
            request = self.waiting.popleft()
            request.seated = now
            request.unread = max(1, request.prompt - request.cached)
            self.running.append(request)
            self._tell("seated", request, now)
        self._hand_over(now)
        if self._step is None and any(one.started is not None for one in self.running):
            self._step = self._begin(now)

    def _hand_over(self, now: float) -> None:
        for request in self.running:
            if request.started is None:
                request.started = now
                self._tell("started", request, now)
            if self._one_by_one and request.unread:
                return

    def _begin(self, now: float) -> _Step:
        room, seconds = self._batch, 0.0
        read: list[tuple[Request, int]] = []
        for request in self.running:
            if request.started is None:
                break
            if taken := min(room, request.unread):
                room -= taken
                read.append((request, taken))
                seconds += taken / self._reads + (taken == request.unread) * self._fixed
        decoding = [request for request in self.running if not request.unread]
        if decoding:
            seconds += self._per_step + self._more * (len(decoding) - 1)
        return _Step(now + seconds, read, decoding)

    def _finish(self, step: _Step) -> None:
        now = step.ends
        for request in step.decoding:
            request.come += 1
        for request, taken in step.read:
            request.unread -= taken
            if not request.unread:
                request.first, request.come = now, 1
                self._tell("first", request, now)
        for request in [r for r in self.running if not r.unread and r.come >= r.answer]:
            request.ended = now
            self.running.remove(request)
            self._tell("ended", request, now)
        self._step = None
        if self._one_by_one and self.running:
            self._step = self._begin(now)  # what is handed over now is too late for it
        self._seat(now)
