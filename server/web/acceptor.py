"""uvicorn with its own way to take connections and to send files, without its signal handlers.

Under uvloop, libuv takes one new connection in each pass of its loop (libuv pull request 3696).
While many streams run, a pass takes long, and a thousand new clients waited for up to six seconds
before their requests were read (measured). Here all that wait are taken at once, as asyncio's own
loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from server.web.connection import STALL_LIMIT, Connection
from server.web.sendfile import sending_threads

log = logging.getLogger("holdfast.web")

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE = 1.0  # seconds without accepting once descriptors or memory have run out


class Server(uvicorn.Server):
    """Serves listening, non-blocking sockets; who runs it decides when and how it stops."""

    def __init__(self, config: uvicorn.Config, stall_limit: float = STALL_LIMIT) -> None:
        super().__init__(config)
        self._stall_limit = stall_limit
        self._listening: set[socket.socket] = set()
        self._making: set[asyncio.Task[Any]] = set()
        self._threads = sending_threads()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = []
        for sock in sockets or ():
            self._listening.add(sock)
            self._listen(sock)
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for sock in self._listening:
            asyncio.get_running_loop().remove_reader(sock)
        self._listening.clear()
        await super().shutdown(sockets)

    def _listen(self, sock: socket.socket) -> None:
        if sock in self._listening:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # the client left while it waited
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.error("new connections have to wait: %s", error.strerror)
                loop.remove_reader(sock)
                loop.call_later(_PAUSE, self._listen, sock)
                return
            accepted.setblocking(False)
            making = loop.create_task(loop.connect_accepted_socket(self._protocol, accepted))
            self._making.add(making)
            making.add_done_callback(self._making.discard)

    def _protocol(self) -> asyncio.Protocol:
        state, own = self.server_state, self.lifespan.state
        return Connection(self.config, state, own, self._threads, self._stall_limit)
