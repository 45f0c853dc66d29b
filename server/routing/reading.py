"""Prompts go to an engine one after the other.

llama-server reads all prompts that it has in one batch, and none has its first token before that
ends: whoever came first waits for everybody. Handed over one by one they take as long together, but
each has its first token when it has been read itself (four prompts of 100 tokens that came at once,
on one core: after 0.24, 0.46, 0.70 and 0.92 s instead of 0.89 to 0.94), and those that are being
answered get a token between two of them. What takes the engine no longer to read than any batch
costs goes along at once: there a batch saves more than it delays.

The next one is handed over when the one before should almost have been read: a batch that is under
way takes up nothing more. So nothing waits for long on a mistake, either: an answer that is not
streamed does not tell when it began, and forecasts may be wrong.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from server.routing.flight import Flight
from server.routing.observe import Observer


class ReadingOrder:
    """Of the requests that have a slot of one engine. `clock`: monotonic seconds. Belongs to one
    event loop."""

    def __init__(self, observer: Observer, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._clock = clock
        self._line: OrderedDict[Flight, asyncio.Future[None]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, flight: Flight) -> None:
        """Return when the engine should get the prompt of `flight`, which counts as started."""
        now = self._clock()
        flight.seated(now)
        if self._observer.hold(flight, now) <= 0:
            flight.started(now)
            return
        turn = self._line[flight] = asyncio.get_running_loop().create_future()
        self._serve()
        try:
            await turn
        finally:
            if self._line.pop(flight, None) is not None:
                self._serve()

    def passed(self) -> None:
        """A prompt has been read, or given up."""
        if self._line:
            self._serve()

    def _serve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        for flight, turn in list(self._line.items()):
            if turn.done():  # its client has left; its task has not run yet
                continue
            wait = self._observer.hold(flight, now)
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._serve)
                return
            del self._line[flight]
            flight.started(now)
            turn.set_result(None)
