"""An HTTP answer that is waited for as long as it makes progress, however long that takes.

A limit to the whole time would end a long prefill that is in perfect health; one to the time
between two bytes never ends an answer that consists of pings. So what counts is progress: a mark
that whoever asks gives, such as the number of tokens so far, and where that stands still, what the
engine says it has computed.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

_LOOKS = 4
"""Within the shortest limit. A look costs nothing per chunk: it is a timer that compares marks."""


class Answer(abc.ABC):
    """One answer: `open` sends for it, `chunks` reads it, `close` ends it.

    Waiting and reading raise TimeoutError once nothing has changed for `limit` seconds, at the most
    a quarter of `shortest`, the least that it ever gives, later. Time that the reader takes between
    two chunks does not count. Whoever asks says what progress is in a class of its own, which does
    not know who holds it: only what is no cycle leaves the memory when its request does.
    """

    def __init__(self, shortest: float) -> None:
        self.response: aiohttp.ClientResponse | None = None
        self._every = shortest / _LOOKS
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._interrupt: Callable[[], None] | None = None
        """Ends the wait that is under way; None: nobody waits."""
        self._since = 0.0
        self._marked = 0
        self._seen: object | None = None

    @abc.abstractmethod
    def mark(self) -> int:
        """What changes with progress."""

    @abc.abstractmethod
    def limit(self) -> float:
        """The seconds for which it may now stand still."""

    async def look(self) -> object | None:
        """What else may change, asked only while the mark stands still; None: it cannot tell."""
        return None

    async def open(self, sending: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
        """The head of the answer, which `sending` waits for."""
        self._progressed()
        self._watch()
        async with asyncio.timeout(None) as scope:
            self._interrupt = lambda: scope.reschedule(0.0)
            try:
                self.response = await sending
            finally:
                self._interrupt = None
        return self.response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes, as they come."""
        assert self.response is not None
        read, interrupt = self.response.content.readany, self._break_off
        while True:
            self._interrupt = interrupt
            chunk = await read()
            self._interrupt = None
            if not chunk:
                return
            yield chunk

    async def body(self, most: int | None = None) -> bytes:
        """The whole body, or its first `most` bytes."""
        pieces, size = [], 0
        async for chunk in self.chunks():
            pieces.append(chunk)
            size += len(chunk)
            if most is not None and size >= most:
                break
        return b"".join(pieces)[:most]

    def close(self) -> None:
        """Unless it was read to its end, the connection is closed: that is how the other side
        learns that nobody wants the rest."""
        self._interrupt = None
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
        if self.response is not None:
            self.response.close()

    def _break_off(self) -> None:
        assert self.response is not None
        self.response.content.set_exception(TimeoutError("no progress"))

    def _watch(self) -> None:
        self._timer = self._loop.call_later(self._every, self._tick)

    def _tick(self) -> None:
        mark = self.mark()
        if self._interrupt is None or mark != self._marked:
            self._marked = mark
            self._progressed()
        else:
            self._looking = self._loop.create_task(self._look_around())
            return
        self._judge()

    async def _look_around(self) -> None:
        seen = await self.look()
        if seen is not None and seen != self._seen:
            self._seen = seen
            self._progressed()
        self._judge()

    def _judge(self) -> None:
        still = self._loop.time() - self._since
        if still < self.limit() or self._interrupt is None:
            self._watch()
        else:
            self._interrupt()

    def _progressed(self) -> None:
        self._since = self._loop.time()
