"""An HTTP answer that is waited for as long as it makes progress, however long that takes.

A limit to the whole time would end a long prefill that is in perfect health; one to the time
between two bytes never ends an answer that consists of pings. So what counts is progress: a mark
that whoever asks gives, such as the number of tokens so far, and where that stands still, what the
engine says it has computed.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp

from server.units import KIB

_LOOKS = 4
"""Within the shortest limit. A look costs nothing per chunk: it is a timer that compares marks."""

_PIECE = 64 * KIB
"""Bytes of a body that are read at once. Several hundred KiB may have come, which would all be held
for a client that reads nothing."""

T = TypeVar("T")


class Answer(abc.ABC):
    """One answer: `read` reads it, `close` ends it.

    Waiting and reading raise TimeoutError once nothing has changed for `limit` seconds, at the most
    a quarter of `shortest`, the least that it ever gives, later. Time that the reader takes between
    two reads does not count. Whoever asks says what progress is in a class of its own, which does
    not know who holds it: only what is no cycle leaves the memory when its request does.
    """

    def __init__(self, shortest: float) -> None:
        self._every = shortest / _LOOKS
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._waits = False
        """Whether something is being waited for."""
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

    @abc.abstractmethod
    async def _next(self) -> bytes:
        """What has come of the body; nothing at its end."""

    @abc.abstractmethod
    def _interrupt(self) -> None:
        """End the wait that is under way with TimeoutError."""

    @abc.abstractmethod
    def _end(self) -> None:
        """Let go of the other side, which thereby learns that nobody wants what is left."""

    async def read(self) -> bytes:
        """The body's next bytes, as they come; nothing at its end."""
        return await self._waited(self._next())

    async def body(self, most: int | None = None) -> bytes:
        """The whole body, or its first `most` bytes."""
        pieces, size = [], 0
        while chunk := await self.read():
            pieces.append(chunk)
            size += len(chunk)
            if most is not None and size >= most:
                break
        return b"".join(pieces)[:most]

    def close(self) -> None:
        self._waits = False
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
        self._end()

    def _watch(self) -> None:
        """Begin to look at how it goes."""
        self._progressed()
        self._look_later()

    async def _waited(self, coming: Awaitable[T]) -> T:
        self._waits = True
        come = await coming
        self._waits = False
        return come

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._every, self._tick)

    def _tick(self) -> None:
        mark = self.mark()
        if not self._waits or mark != self._marked:
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
        if still < self.limit() or not self._waits:
            self._look_later()
        else:
            self._interrupt()

    def _progressed(self) -> None:
        self._since = self._loop.time()


class WebAnswer(Answer):
    """One that comes by way of aiohttp: `open` sends for it."""

    def __init__(self, shortest: float) -> None:
        super().__init__(shortest)
        self.response: aiohttp.ClientResponse | None = None
        self._opening = asyncio.timeout(None)

    async def open(self, sending: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
        """The head of the answer, which `sending` waits for."""
        self._watch()
        async with self._opening:
            self.response = await self._waited(sending)
        return self.response

    async def _next(self) -> bytes:
        assert self.response is not None
        return await self.response.content.read(_PIECE)

    def _interrupt(self) -> None:
        if self.response is None:
            self._opening.reschedule(0.0)
        else:
            self.response.content.set_exception(TimeoutError("no progress"))

    def _end(self) -> None:
        if self.response is not None:
            self.response.close()
