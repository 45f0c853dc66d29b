"""A process's web side from its first connection to its last: listen, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import uvicorn

from server.errors import ConfigError
from server.ledger.keys import KeyBook
from server.web.acceptor import Server
from server.web.app import App, shutting_down
from server.web.listen import is_loopback

log = logging.getLogger("holdfast")

_ABORT_GRACE = 5.0
"""Seconds for clients to be told that their request was given up."""
_KEEP_ALIVE = 120
"""Seconds that a connection is kept for a client's next request: longer than clients keep theirs
(httpx 5, aiohttp 15, nginx 60, Go 90), since a request that meets the close is lost, and a POST is
not sent again by itself."""


class Endpoint:
    """Serves `app` until it is told to stop; requests under way get `drain_timeout` seconds."""

    def __init__(self, app: App, drain_timeout: float) -> None:
        self._app = app
        self.drain_timeout = drain_timeout
        self.stopping = asyncio.Event()
        """Set by SIGINT and SIGTERM, and by whoever wants an end."""

    @contextlib.asynccontextmanager
    async def serving(self, sockets: list[socket.socket]) -> AsyncIterator[None]:
        """Answer requests while the block runs, which waits for `stopping` in its own way.

        At the end: no new requests, time for those under way (none after a second signal), an
        error to the rest.
        """
        server = Server(_config(self._app))
        _settle()
        hurried = asyncio.Event()
        with _signals(self.stopping, hurried):
            web = asyncio.create_task(server.serve(sockets))
            stalls = asyncio.create_task(self._app.watch_for_stalls())
            try:
                yield
            finally:
                server.should_exit = True
                stalls.cancel()
                await self._drain(hurried)
                server.force_exit = True
                await web

    async def _drain(self, hurried: asyncio.Event) -> None:
        """Give running requests their time, then tell the rest that it is over."""
        if self._app.active:
            log.info("stopping once %d requests are answered", self._app.active)
        await _first(self._app.idle(), hurried.wait(), patience=self.drain_timeout)
        self._app.abort_all(shutting_down())
        await _first(self._app.idle(), patience=_ABORT_GRACE)


def check_exposure(host: str, book: KeyBook) -> None:
    """Raises ConfigError where anyone on the network could ask, since there is no key."""
    if not is_loopback(host) and not book.required():
        raise ConfigError(
            f"refusing to listen on {host} without an API key: anyone who reaches this "
            "machine could use it",
            next_step="Create a key first: holdfast keys create NAME",
        )


def base_url(sock: socket.socket) -> str:
    """The URL of what listens on `sock`, without a path."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison, not a bind
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE,
        access_log=False,
        log_config=None,
        server_header=False,
        # What X-Forwarded-For says is not who asks: any client can write it.
        proxy_headers=False,
    )


def _settle() -> None:
    """Make this process ready to serve for long."""
    # Each request takes two descriptors, so the usual soft limit of 1,024 ends at 500 of them.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What is in memory now stays, and need not be looked at by each collection: with Python's own
    # settings those take a seventh of the time of a small request (measured).
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


async def _first(*waits: Coroutine[Any, Any, Any], patience: float) -> None:
    """Wait until one of `waits` is over, for at most `patience` seconds."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


@contextlib.contextmanager
def _signals(stopping: asyncio.Event, hurried: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        (hurried if stopping.is_set() else stopping).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
