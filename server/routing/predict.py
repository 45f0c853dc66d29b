"""When an engine's first token should come. Pure.

    time to first token = load time left + wait for a slot + prefill

An engine reads prompts one after the other, whatever slots they are in: what counts for a prefill
is the work before it, in tokens, and its own, at the measured rate. So a request whose slot is free
waits for those that are still reading, and one that needs a slot waits for the first that comes
free: when each does is simulated, over the expected rest of what runs and the whole of what waits
before it. A step of decoding goes on beside that; its time depends on how many slots are busy.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from server.record import record
from server.routing.candidate import MARGIN, Forecast


@record()
class Rates:
    """What an engine does in which time; from `observe.py`, at first from the planner."""

    fixed: float
    """Seconds that a first token takes beside the reading."""
    prefill: float
    """Prompt tokens a second."""
    step: float
    """Seconds for a token of one request alone."""
    step_more: float
    """Seconds that each further busy slot adds to that."""
    measured: bool = False
    margin: float = MARGIN
    """Times its forecast that reading may take."""

    def token(self, busy: int) -> float:
        """Seconds for a token of each of `busy` requests."""
        return self.step + self.step_more * max(0, busy - 1)

    def reading(self, tokens: float) -> float:
        """Seconds until `tokens` have been read and the first token has come."""
        return self.fixed + tokens / self.prefill


@dataclass(frozen=True, slots=True)
class Work:
    """A request that has a slot, or waits for one."""

    prompt: float
    """Tokens that are still to be read."""
    answer: float
    """Tokens that should still come."""
    slots: int = 1
    answer_late: float = 0.0
    """The same if it gets long; where that is less, `answer` counts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What an engine is like now."""

    slots: int
    load: float = 0.0
    """Seconds until it is ready."""
    running: Sequence[Work] = ()
    waiting: Sequence[Work] = ()
    """Those that are served before a newcomer, in their order."""


def forecast(standing: Standing, rates: Rates, prompt: float) -> Forecast:
    """For a newcomer of whose prompt `prompt` tokens are in no cache."""
    busy = sum(work.slots for work in standing.running)
    reading = sum(work.prompt for work in standing.running)
    if busy < standing.slots and not standing.waiting:
        return at_once(standing.load, busy, reading, rates, prompt)
    queue = _wait(standing, rates, reading / rates.prefill)
    return Forecast(
        load=standing.load,
        queue=queue,
        queue_late=max(queue, _wait(standing, rates, reading / rates.prefill, late=True)),
        prefill=rates.reading(prompt),
        speed=1 / rates.token(standing.slots),
        measured=rates.measured,
        margin=rates.margin,
    )


def at_once(load: float, busy: int, reading: float, rates: Rates, prompt: float) -> Forecast:
    """The same where a slot is free and nobody waits. `busy`: slots in use; `reading`: tokens of
    the prompts that are being read. No answer has to end: all that it waits for is reading."""
    return Forecast(
        load=load,
        queue=reading / rates.prefill,
        prefill=rates.reading(prompt),
        speed=1 / rates.token(busy + 1),
        measured=rates.measured,
        margin=rates.margin,
        queue_margin=rates.margin,
    )


def _wait(standing: Standing, rates: Rates, reading: float, *, late: bool = False) -> float:
    """Seconds until a slot is free and the engine has read what comes before; `late`: if the
    answers that are being written get long.

    Every slot decodes at the pace of all being busy, and stands still while a prompt is read: the
    rest of what runs is prolonged by the reading that is under way, and that of those who wait adds
    to whoever comes after them.
    """
    token = rates.token(standing.slots)
    free: list[float] = []
    for work in standing.running:
        answer = max(work.answer, work.answer_late) if late else work.answer
        free += [reading + answer * token] * work.slots
    free += [0.0] * (standing.slots - len(free))
    heapq.heapify(free)
    read = reading  # when the engine has read all prompts so far
    delay = 0.0  # by which later prompts have held up those that decode
    for work in standing.waiting:
        start = 0.0
        for _ in range(min(work.slots, standing.slots)):
            start = max(start, heapq.heappop(free) + delay)
        seconds = rates.reading(work.prompt)
        read = max(read, start) + seconds
        delay += seconds
        end = read + work.answer * token - delay
        for _ in range(min(work.slots, standing.slots)):
            heapq.heappush(free, end)
    return max(free[0] + delay, read if standing.waiting else 0.0)
