"""The composition root: everything that one serving Holdfast consists of, wired once.

Order at start: lock and sockets (so that a wrong address is told at once), then the endpoint, then
the engines, one after the other. Order at the end: no new requests, time for those under way, an
error to the rest, then the engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn

from server.catalogue import Catalogue
from server.engines.binary import Binary
from server.engines.engine import Engine
from server.engines.fleet import Fleet, Member
from server.engines.lifecycle import State
from server.engines.llama_server import Launch
from server.engines.naming import file_stem
from server.errors import ConfigError
from server.hardware.machine import Machine
from server.ledger.keys import KeyBook
from server.planning.selection import Pick, Selection
from server.planning.sizing import threads
from server.routing.attempt import Patience
from server.routing.targets import Target, Targets
from server.settings import Settings
from server.web.acceptor import Server
from server.web.admin import Admin
from server.web.app import App, shutting_down
from server.web.listen import is_loopback, listen, listen_unix, lock_run_folder
from server.web.openai import OpenAI

log = logging.getLogger("holdfast")

_ABORT_GRACE = 5.0
"""Seconds for clients to be told that their request was given up."""


class Node:
    """One Holdfast: the engines of `selection` behind one endpoint. `serve` runs it to its end."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        machine: Machine,
        binary: Binary,
        selection: Selection,
    ) -> None:
        self._settings = settings
        self._serve = catalogue.serve
        now = int(time.time())
        members, targets = [], []
        for pick in selection.picks:
            engine = self._engine(pick, machine, binary)
            members.append(Member(engine, pick.sizing.footprint.total))
            targets.append(_target(pick, engine, now))
        # What was selected fits, each in its place: the fleet has nothing left to turn away.
        self._fleet = Fleet(members, sum(member.needs for member in members))
        self._book = KeyBook(settings.keys_file)
        self._stopping = asyncio.Event()
        openai = OpenAI(
            Targets(catalogue, targets),
            max_body=self._serve.max_body,
            patience=Patience(self._serve.queue_timeout, self._serve.load_timeout),
        )
        admin = Admin(self._fleet, lambda: not self._stopping.is_set())
        self._app = App(self._book, openai, admin)

    async def serve(self, on_listening: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; a second one cuts the drain short.

        `on_listening` is told the endpoint's URL. Raises BindError, ConfigError, and, where no
        engine at all could be started, what the first one failed for.
        """
        host, port = self._serve.host, self._serve.port
        if not is_loopback(host) and not self._book.required():
            raise ConfigError(
                f"refusing to listen on {host} without an API key: anyone who reaches this "
                "machine could use it",
                next_step="Create a key first: holdfast keys create NAME",
            )
        with lock_run_folder(self._settings.run), contextlib.ExitStack() as held:
            sock = held.enter_context(contextlib.closing(listen(host, port)))
            admin = held.enter_context(contextlib.closing(listen_unix(self._settings.admin_socket)))
            held.callback(self._settings.admin_socket.unlink, missing_ok=True)
            on_listening(url(sock))
            await self._run([sock, admin])

    async def _run(self, sockets: list[socket.socket]) -> None:
        server = Server(
            uvicorn.Config(
                self._app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                # What X-Forwarded-For says is not who asks: any client can write it.
                proxy_headers=False,
            )
        )
        _settle()
        hurried = asyncio.Event()
        with _signals(self._stopping, hurried):
            web = asyncio.create_task(server.serve(sockets))
            stalls = asyncio.create_task(self._app.watch_for_stalls())
            engines = asyncio.create_task(self._start_engines())
            try:
                await self._stopping.wait()
            finally:
                server.should_exit = True
                engines.cancel()
                stalls.cancel()
                await self._drain(hurried)
                server.force_exit = True
                await self._fleet.stop_all(0)
                await web
        if engines.done() and not engines.cancelled() and (error := engines.exception()):
            raise error

    async def _start_engines(self) -> None:
        """Start all engines; end the node, with the reason, if not one of them could be."""
        try:
            await self._fleet.start_all()
            statuses = self._fleet.status()
            for status in statuses:
                if status.state is State.FAILED:
                    log.error("%s failed: %s", status.name, status.last_error)
                else:
                    log.info("%s is ready", status.name)
            if all(status.state is State.FAILED for status in statuses):
                await self._fleet.get(statuses[0].name).wait_ready()
        except BaseException:
            self._stopping.set()
            raise

    async def _drain(self, hurried: asyncio.Event) -> None:
        """Give running requests their time, then tell the rest that it is over."""
        if self._app.active:
            log.info("stopping once %d requests are answered", self._app.active)
        await _first(self._app.idle(), hurried.wait(), patience=self._serve.drain_timeout)
        self._app.abort_all(shutting_down())
        await _first(self._app.idle(), patience=_ABORT_GRACE)

    def _engine(self, pick: Pick, machine: Machine, binary: Binary) -> Engine:
        launch = Launch(
            binary=binary.path,
            model_file=pick.installed.main,
            mmproj=pick.installed.mmproj,
            alias=pick.model.id,
            socket=self._settings.run / f"{file_stem(pick.build.name)}.sock",
            context=pick.sizing.context,
            slots=pick.sizing.slots,
            threads=threads(pick.installed.bytes, machine.cpu.usable_cores),
            gpus=(pick.place.gpu,) if pick.place.gpu else (),
        )
        return Engine(
            pick.build.name,
            launch,
            logs=self._settings.logs,
            queue_limit=self._serve.queue,
            load_timeout=self._serve.load_timeout,
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


def url(sock: socket.socket) -> str:
    """The base URL of the endpoint that listens on `sock`."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison, not a bind
        host = socket.gethostname()
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _target(pick: Pick, engine: Engine, now: int) -> Target:
    return Target(
        model=pick.model,
        build=pick.build,
        engine=engine,
        context=pick.sizing.context,
        sees=pick.installed.mmproj is not None,
        created=now,
    )


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
