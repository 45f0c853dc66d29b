"""The composition root: everything that one serving Holdfast consists of, wired once.

Order at start: lock and sockets (so that a wrong address is told at once), then the endpoint, then
the fleet, which starts the engines. Order at the end: no new requests, time for those under way,
an error to the rest, then the engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence

from server.catalogue import Catalogue
from server.engines.berth import Berth
from server.engines.fleet import Fleet
from server.engines.lifecycle import State
from server.engines.occupant import Memory
from server.engines.yard import Yard
from server.errors import EngineError
from server.ledger.keys import KeyBook
from server.planning.available import Look
from server.routing.attempt import Patience
from server.routing.targets import Target, Targets
from server.settings import Settings
from server.store.layout import Installed
from server.store.offering import Offering
from server.web.admin import Admin
from server.web.app import App, node_routes
from server.web.endpoint import Endpoint, base_url, check_exposure
from server.web.listen import listen, listen_unix, lock_run_folder
from server.web.mirror import Mirror
from server.web.openai import OpenAI

log = logging.getLogger("holdfast")


class Node:
    """One Holdfast: the engines of `berths` behind one endpoint. `serve` runs it to its end.

    `capacity`: bytes that engines may take of each memory pool; `look`: what of a build is on disk.
    Made within the event loop. Raises HoldfastError for a berth that cannot be launched here.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        yard: Yard,
        berths: Sequence[Berth],
        capacity: Memory,
        look: Look,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._serve = catalogue.serve
        self._look = look
        self._started = int(time.time())
        self._fleet = Fleet(yard, capacity)
        self._targets = Targets(catalogue)
        self._fleet.on_change = self._retarget
        self._fleet.apply(berths)
        self._book = KeyBook(settings.keys_file)
        openai = OpenAI(
            self._targets,
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
        fleet = asyncio.create_task(self._fleet.run())
        failing = asyncio.create_task(self._end_if_nothing_starts())
        fleet.add_done_callback(lambda _: self._endpoint.stopping.set())
        try:
            async with self._endpoint.serving(sockets):
                try:
                    await self._endpoint.stopping.wait()
                finally:
                    failing.cancel()
        finally:
            bug = fleet.exception() if fleet.done() else None
            fleet.cancel()
            await self._fleet.stop_all(0)
        if bug is not None:
            raise bug
        if failing.done() and not failing.cancelled() and (error := failing.exception()):
            raise error

    async def _end_if_nothing_starts(self) -> None:
        """End the node, with the reason, if not one engine could be started."""
        try:
            await self._fleet.settled()
            members = tuple(self._fleet.members.values())
            if members and all(member.engine.state is State.FAILED for member in members):
                raise members[0].error or EngineError(f"{members[0].name} failed")
        except BaseException:
            self._endpoint.stopping.set()
            raise

    def _retarget(self) -> None:
        """Serve by name what the fleet now has."""
        found = []
        for member in self._fleet.members.values():
            model, build = self._catalogue.resolve(member.name)
            assert build is not None
            installed = self._look(build)
            pictures = isinstance(installed, Installed) and installed.mmproj is not None
            sees = pictures and member.berth.deployment.vision
            found.append(Target(model, build, member, sees=sees, created=self._started))
        self._targets.serve(found)
