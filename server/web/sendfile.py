"""Files sent to clients by the kernel: uvicorn's protocol with `os.sendfile` added.

The application finds a SendFile in `scope["extensions"]["holdfast.send_file"]["send"]`. The bytes
go from the page cache to the socket and never through Python. The work is done in threads, because
a page that is not in the cache is read from the disk inside `sendfile`, and that would halt every
other request. A client that reads slowly holds no thread: the event loop waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from server.units import MIB
from server.web import departures
from server.web.departures import Departures
from server.web.joined import Joined

SendFile = Callable[[int, int, int], Awaitable[int]]
"""`await send_file(fd, offset, count)` sends at least one and at most `count` bytes of a file as
part of the answer's body, and returns how many; 0: the client has gone. The answer must have begun
with a content-length. If it is cancelled or raises (OSError: the file cannot be read; EOFError: it
is shorter), the connection is closed, since nothing else may follow half a file."""

EXTENSION = "holdfast.send_file"

_CHUNK = 4 * MIB
"""Bytes that one call of sendfile may take: how long a cancelled one goes on."""
_TURN = 64 * MIB
"""Bytes after which a thread turns to another client that waits for one."""
_LINGER = 10
"""Milliseconds for which a thread waits for a client that is behind before it leaves it to the
event loop: a fast client's buffer is free again sooner than a thread can be changed."""
_THREADS = 8


def sending_threads() -> ThreadPoolExecutor:
    """The threads that one server sends files in; none exists until a file is sent."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="sendfile")


@dataclass(frozen=True, slots=True)
class _Sender:
    """What the application calls.

    It holds weakly what holds it by way of the scope: each request would otherwise stay in memory
    until the next full garbage collection (measured: 10 MiB for each thousand streams).
    """

    protocol: weakref.ref[SendfileProtocol]
    cycle: weakref.ref[RequestResponseCycle]

    async def __call__(self, file: int, offset: int, count: int) -> int:
        protocol, cycle = self.protocol(), self.cycle()
        if protocol is None or cycle is None:
            return 0
        return await protocol.send_file(cycle, file, offset, count)


class SendfileProtocol(HttpToolsProtocol):
    """One connection of a client; adds extensions to the scope of each request: this one where it
    is a GET, that of departures.py to all."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        threads: ThreadPoolExecutor,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._threads = threads
        self._gone = asyncio.Event()
        self._departures = Departures()

    def on_headers_complete(self) -> None:
        # Its task, made by uvicorn here, runs only once this has returned.
        super().on_headers_complete()
        extensions: dict[str, Any] = {departures.EXTENSION: self._departures}
        self.scope["extensions"] = extensions
        if self.scope["method"] == "GET":  # inference is POST, and pays nothing
            sender = _Sender(weakref.ref(self), weakref.ref(self.cycle))
            extensions[EXTENSION] = {"send": sender}
        elif self.scope["method"] == "POST":
            self.cycle.transport = cast(asyncio.Transport, Joined(self.transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._departures.leave()
        super().connection_lost(exc)

    async def send_file(
        self, cycle: RequestResponseCycle, file: int, offset: int, count: int
    ) -> int:
        if cycle.disconnected or self._gone.is_set():
            self._give_up(cycle)  # even the head may not have been sent
            return 0
        if not 0 < count <= cycle.expected_content_length or cycle.response_complete:
            raise RuntimeError(f"{count} bytes of a file are not what the answer announced")
        try:
            await self._flushed()
            sent = 0
            while not sent and not self._gone.is_set():
                sent = await self._turn(file, offset, count)
                if not sent:
                    await self._writable()
        except ConnectionError:
            self._give_up(cycle)
            return 0
        except BaseException:
            self._give_up(cycle)
            raise
        if not sent:
            self._give_up(cycle)
        cycle.expected_content_length -= sent
        return sent

    async def _flushed(self) -> None:
        """Wait until all that was written before, the answer's head, is with the kernel."""
        if self.transport.get_write_buffer_size():
            # From now on the transport tells when it holds nothing at all.
            self.transport.set_write_buffer_limits(0)
            await self.flow.drain()
            if not self.transport.is_closing():
                self.transport.set_write_buffer_limits()

    async def _turn(self, file: int, offset: int, count: int) -> int:
        """Send what the client takes now, in a thread; 0 if it takes nothing or has gone."""
        if self._gone.is_set() or self.transport.is_closing():
            self._gone.set()
            return 0
        turn = _Turn(self._gone)
        with _duplicate(self.transport) as sock:
            running = asyncio.get_running_loop().run_in_executor(
                self._threads, turn.run, sock, file, offset, count
            )
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                # The descriptors may be closed, and others may write, only when it has ended.
                turn.stopped = True
                await _ended(running)
                raise

    async def _writable(self) -> None:
        """Wait until the client takes more, or has gone."""
        loop = asyncio.get_running_loop()
        if self._gone.is_set():
            return
        with _duplicate(self.transport) as sock:
            free = asyncio.Event()
            loop.add_writer(sock, free.set)
            waits = [asyncio.ensure_future(event.wait()) for event in (free, self._gone)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                loop.remove_writer(sock)
                for wait in waits:
                    wait.cancel()

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        """Close the connection at once; uvicorn then expects nothing more of this answer."""
        self._gone.set()
        cycle.disconnected = True
        self.transport.abort()


@dataclass(slots=True)
class _Turn:
    """A thread's work for one client until it is behind, or has had its share."""

    gone: asyncio.Event
    """Of the connection; a thread only asks whether it is set."""
    stopped: bool = False

    def run(self, sock: int, file: int, offset: int, count: int) -> int:
        """The bytes sent. Raises OSError, EOFError."""
        sent = 0
        most = min(count, _TURN)
        behind_since: float | None = None
        while sent < most and not self.stopped and not self.gone.is_set():
            try:
                done = os.sendfile(sock, file, offset + sent, min(most - sent, _CHUNK))
            except BlockingIOError:
                now = time.monotonic()
                behind_since = behind_since or now
                if (now - behind_since) * 1000 >= _LINGER:
                    break
                poller = select.poll()
                poller.register(sock, select.POLLOUT)
                poller.poll(_LINGER)
                continue
            if not done:
                raise EOFError("the file is shorter than it was")
            sent += done
            behind_since = None
        return sent


@contextlib.contextmanager
def _duplicate(transport: asyncio.Transport) -> Iterator[int]:
    """A descriptor of our own for the transport's socket, which cannot be closed under us."""
    sock = os.dup(transport.get_extra_info("socket").fileno())
    try:
        yield sock
    finally:
        os.close(sock)


async def _ended(running: asyncio.Future[int]) -> None:
    """Wait for `running`, however often this task is cancelled meanwhile."""
    while not running.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([running])
    if not running.cancelled():
        running.exception()  # was seen
