"""The composition root: everything that one serving Holdfast consists of, wired once.

Order at start: lock and sockets (so that a wrong address is told at once), then the endpoint, then
the engines, one after the other. Order at the end: no new requests, time for those under way, an
error to the rest, then the engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable

from server.catalogue import Catalogue
from server.engines.binary import Binary
from server.engines.engine import Engine
from server.engines.fleet import Fleet, Member
from server.engines.lifecycle import State
from server.engines.llama_server import Launch
from server.engines.naming import file_stem
from server.hardware.machine import Machine
from server.ledger.keys import KeyBook
from server.planning.selection import Pick, Selection
from server.planning.sizing import threads
from server.routing.attempt import Patience
from server.routing.targets import Target, Targets
from server.settings import Settings
from server.store.offering import Offering
from server.web.admin import Admin
from server.web.app import App, node_routes
from server.web.endpoint import Endpoint, base_url, check_exposure
from server.web.listen import listen, listen_unix, lock_run_folder
from server.web.mirror import Mirror
from server.web.openai import OpenAI

log = logging.getLogger("holdfast")


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
        openai = OpenAI(
            Targets(catalogue, targets),
            max_body=self._serve.max_body,
            patience=Patience(self._serve.queue_timeout, self._serve.load_timeout),
        )
        admin = Admin(self._fleet, lambda: not self._endpoint.stopping.is_set())
        mirror = Mirror(Offering(settings.models))
        app = App(self._book, node_routes(openai, admin, mirror))
        self._endpoint = Endpoint(app, self._serve.drain_timeout)

    async def serve(self, on_listening: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; a second one cuts the drain short.

        `on_listening` is told the endpoint's URL. Raises BindError, ConfigError, and, where no
        engine at all could be started, what the first one failed for.
        """
        host, port = self._serve.host, self._serve.port
        check_exposure(host, self._book)
        with lock_run_folder(self._settings.run), contextlib.ExitStack() as held:
            sock = held.enter_context(contextlib.closing(listen(host, port)))
            admin = held.enter_context(contextlib.closing(listen_unix(self._settings.admin_socket)))
            held.callback(self._settings.admin_socket.unlink, missing_ok=True)
            on_listening(f"{base_url(sock)}/v1")
            await self._run([sock, admin])

    async def _run(self, sockets: list[socket.socket]) -> None:
        try:
            async with self._endpoint.serving(sockets):
                engines = asyncio.create_task(self._start_engines())
                try:
                    await self._endpoint.stopping.wait()
                finally:
                    engines.cancel()
        finally:
            await self._fleet.stop_all(0)
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
            self._endpoint.stopping.set()
            raise

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


def _target(pick: Pick, engine: Engine, now: int) -> Target:
    return Target(
        model=pick.model,
        build=pick.build,
        engine=engine,
        context=pick.sizing.context,
        sees=pick.installed.mmproj is not None,
        created=now,
    )
