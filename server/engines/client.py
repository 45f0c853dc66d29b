"""HTTP/1.1 to an engine, over its UNIX socket: what asking it for an answer takes, and no more.

A client for the whole of the web costs a small request more than the router does: a question and
its answer on a kept connection took 145 us of processor time with aiohttp 3.14 and 25 with this one
(medians of 5 runs in turns of 5,000 each, under uvloop). It can be as small as this because engines
give every body a length or send it in chunks, redirect nobody, set no cookies and pack nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final, cast

import httptools

KEEP_ALIVE: Final = 3.0
"""Seconds that a connection may be idle. cpp-httplib ends it after 5: we must let go before."""
_MOST_UNREAD: Final = 128 * 1024
"""Bytes that wait for a slow reader, upon which the engine has to wait as well."""


class EngineClient:
    """The connections to one engine, each for one request at a time. Belongs to one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._idle: list[_Connection] = []
        """The one that was used last stands last, and is used next."""
        self._open: set[_Connection] = set()
        self._closed = False

    async def post(self, path: str, body: bytes, *, once: bool = False) -> EngineResponse:
        """Send a JSON `body`; `once`: on a connection that ends with the answer.

        The caller waits for the answer's head, and closes it. Raises ConnectionError.
        """
        connection = self._rested() or await self._connect()
        end = b"connection: close\r\n" if once else b""
        head = b"POST %b HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\n%b" \
               b"content-length: %d\r\n\r\n" % (path.encode(), end, len(body))  # fmt: skip
        return connection.send(head + body, keep=not once)

    def close(self) -> None:
        """End all connections, and what is being read from them."""
        self._closed = True
        for connection in list(self._open):
            connection.abort()

    def _rested(self) -> _Connection | None:
        """One that the engine surely still holds open."""
        since = time.monotonic() - KEEP_ALIVE
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= since and connection.usable:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            if self._closed:
                raise ConnectionResetError("the engine has ended")
            _, connection = await loop.create_unix_connection(
                lambda: _Connection(self._idle, self._open), self._socket
            )
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionRefusedError(str(error)) from error
        return connection


class EngineResponse:
    """An answer, as it comes. `status` is known once `head` has returned.

    Waiting raises ConnectionError where the connection ends too early. To be closed whatever
    becomes of it: unless it was read to its end, the connection goes with it, which is how an
    engine learns that nobody wants the rest.
    """

    __slots__ = ("_chunks", "_connection", "_error", "_waiter", "status", "total_bytes", "unread")

    def __init__(self, connection: _Connection) -> None:
        self.status = 0
        self.total_bytes = 0
        """Of the body, that have come so far."""
        self.unread = 0
        """Of those, that nobody has read yet."""
        self._connection: _Connection | None = connection
        """None: it is whole, or was closed."""
        self._chunks: list[bytes] = []
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether all of it has come and was read."""
        return self._connection is None and not self.unread

    async def head(self) -> None:
        while not self.status:
            await self._more()

    async def read(self) -> bytes:
        """What has come of the body; nothing at its end."""
        while not self.unread and self._connection is not None:
            await self._more()
        chunks, self._chunks, self.unread = self._chunks, [], 0
        if self._connection is not None:
            self._connection.go_on()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def fail(self, error: Exception) -> None:
        """Raise `error` where it is waited for."""
        self._error = error
        self._wake()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    async def _more(self) -> None:
        if self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- What comes ----

    def on_head(self, status: int) -> None:
        self.status = status
        self._wake()

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.total_bytes += len(chunk)
        self.unread += len(chunk)
        self._wake()

    def on_end(self) -> None:
        self._connection = None
        self._wake()


class _Connection(asyncio.Protocol):
    """One connection; `idle` is where it stands between two requests, `open_` as long as it is."""

    def __init__(self, idle: list[_Connection], open_: set[_Connection]) -> None:
        self.idle_since = 0.0
        self._idle = idle
        self._open = open_
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._response: EngineResponse | None = None
        self._keep = True
        self._paused = False

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    def send(self, request: bytes, *, keep: bool) -> EngineResponse:
        response = self._response = EngineResponse(self)
        self._keep = keep
        self._transport.write(request)
        return response

    def go_on(self) -> None:
        """What came has been read."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    # ---- asyncio ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._open.discard(self)
        with contextlib.suppress(ValueError):
            self._idle.remove(self)
        response, self._response = self._response, None
        if response is not None:
            response.fail(ConnectionResetError("the engine ended the connection"))
        del self._parser  # it knows its connection: a cycle

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    # ---- httptools ----

    def on_headers_complete(self) -> None:
        self._expected().on_head(self._parser.get_status_code())

    def on_body(self, chunk: bytes) -> None:
        response = self._expected()
        response.on_body(chunk)
        if response.unread > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        response, self._response = self._expected(), None
        response.on_end()
        self.go_on()
        if self._keep and self._parser.should_keep_alive():
            self.idle_since = time.monotonic()
            self._idle.append(self)
        else:
            self._transport.close()

    def _expected(self) -> EngineResponse:
        """Raises LookupError, and so ends the connection, for an answer that nobody asked for."""
        if self._response is None:
            raise LookupError
        return self._response
