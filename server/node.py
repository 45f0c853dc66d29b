"""The composition root: everything that one serving Holdfast consists of, wired once.

Order at start: lock and sockets (so that a wrong address is told at once), then the endpoint, then
the fleet, which starts the engines. Order at the end: no new requests, time for those under way,
an error to the rest, then the engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from server.catalogue import Catalogue
from server.catalogue.changes import Change, changes, key_changes
from server.engines.berth import Berth
from server.engines.fleet import Fleet
from server.engines.lifecycle import State
from server.engines.occupant import Memory
from server.engines.outfit import Outfitter
from server.engines.yard import Yard
from server.errors import EngineError, HoldfastError
from server.ledger.book import Book
from server.ledger.counting import Counting, show
from server.ledger.keys import KeyBook
from server.metrics import Breaker, Metrics
from server.planning.available import Look
from server.providers.secrets import Keyring
from server.routing.breaker import State as BreakerState
from server.routing.otlp import receiver_of
from server.routing.router import Router
from server.routing.targets import Target, Targets
from server.settings import Settings
from server.store.layout import Installed
from server.store.offering import Offering
from server.web.admin import Admin
from server.web.anthropic import Anthropic
from server.web.app import App, node_routes
from server.web.endpoint import Endpoint, base_url, check_exposure
from server.web.inference import Bounds, Inference
from server.web.listen import listen, listen_unix, lock_run_folder
from server.web.mirror import Mirror
from server.web.openai import OpenAI

log = logging.getLogger("holdfast")

_BREAKERS: Mapping[BreakerState, Breaker] = {
    "closed": "closed",
    "open": "open",
    "probing": "half_open",
}


class Node:
    """One Holdfast: the engines of `berths` behind one endpoint. `serve` runs it to its end.

    `capacity`: bytes that engines may take of each memory pool; `look`: what of a build is on disk;
    `outfitter`: who plans anew when the configuration is read again.
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
        outfitter: Outfitter | None = None,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._serve = catalogue.serve
        self._look = look
        self._outfitter = outfitter
        self._reloading = asyncio.Lock()
        self._started = int(time.time())
        self._fleet = Fleet(yard, capacity)
        self._targets = Targets(catalogue)
        self._ledger = Book(settings.ledger)
        self._series = Metrics()
        self._names: frozenset[str] = frozenset()
        self._counting = Counting(self._series, lambda name: name in self._names)
        self._router = Router(
            catalogue, self._ledger, Keyring(), self._counting, self._left, receiver_of(os.environ)
        )
        self._fleet.on_change = self._retarget
        self._fleet.apply(berths)
        self._book = KeyBook(settings.keys_file)
        self._inference = Inference(
            self._router,
            Bounds(self._serve.max_body),
            lambda code: self._series.refused.labels(code).inc(),
        )
        openai = OpenAI(self._inference, self._targets, self._router)
        anthropic = Anthropic(self._inference, self._router)
        admin = Admin(self._fleet, self._serving, self.reload, self._metrics, self._router)
        mirror = Mirror(Offering(settings.models))
        app = App(self._book, node_routes(openai, anthropic, admin, mirror))
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
            await self._run([sock, admin], lambda: on_listening(f"{base_url(sock)}/v1"))

    async def reload(self) -> tuple[Change, ...]:
        """Read the configuration again and become what it says; what has changed by that.

        All or nothing. Raises HoldfastError, having changed nothing, for a mistake in it, and for
        what cannot be served here.
        """
        if self._outfitter is None:
            raise EngineError("this Holdfast was not started from configuration files")
        async with self._reloading:
            rig, running = await self._fleet.look(), self._fleet.running()
            outfit = await asyncio.to_thread(self._outfitter.prepare, rig, running)
            former, without = (self._catalogue, self._look), self._router.keyless
            with self._outfitter.adopting(outfit):
                self._catalogue, self._look = outfit.catalogue, outfit.look
                try:
                    self._fleet.apply(outfit.served.berths, outfit.served.capacity)
                except BaseException:
                    self._catalogue, self._look = former
                    raise
            self._router.configure(outfit.catalogue)
            serve = outfit.catalogue.serve
            self._inference.bounds = Bounds(serve.max_body)
            self._endpoint.drain_timeout = serve.drain_timeout
            for member in self._fleet.members.values():
                member.queue.limit = serve.queue
            both = former[0], outfit.catalogue
            found = (*changes(*both), *key_changes(*both, without, self._router.keyless))
        for change in found:
            log.info("%s", change.sentence)
        log.info("the configuration was read again; changes: %d", len(found))
        return found

    async def _run(self, sockets: list[socket.socket], announce: Callable[[], None]) -> None:
        routing = asyncio.create_task(self._router.run())
        fleet = asyncio.create_task(self._fleet.run())
        failing = asyncio.create_task(self._end_if_nothing_starts())
        for task in (fleet, routing):
            task.add_done_callback(lambda _: self._endpoint.stopping.set())
        try:
            async with self._endpoint.serving(sockets), self._hangups():
                try:
                    announce()
                    await self._endpoint.stopping.wait()
                finally:
                    failing.cancel()
        finally:
            bug = next((b for task in (fleet, routing) if (b := _bug(task))), None)
            fleet.cancel()
            await self._fleet.stop_all(0)
            routing.cancel()
            await self._router.close()
            await self._ledger.close()
        if bug is not None:
            raise bug
        if failing.done() and not failing.cancelled() and (error := failing.exception()):
            raise error

    @contextlib.asynccontextmanager
    async def _hangups(self) -> AsyncIterator[None]:
        """SIGHUP reads the configuration again, while the block runs."""
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def reload() -> None:
            task = loop.create_task(self._reload_and_tell())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            for task in tasks:
                task.cancel()

    async def _reload_and_tell(self) -> None:
        try:
            await self.reload()
        except HoldfastError as error:
            log.error("the configuration stays as it was: %s", error.sentence)

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

    def _serving(self) -> bool:
        """Whether new requests are taken."""
        return not self._endpoint.stopping.is_set()

    def _left(self, provider: str, size: int) -> None:
        """So many bytes of a request have left for a cloud."""
        self._series.egress.labels(provider).inc(size)

    def _metrics(self) -> bytes:
        members, breakers = self._fleet.members.values(), self._router.breakers
        self._series.set_queues({m.name: (m.queue.waiting, m.queue.running) for m in members})
        names = (*(member.name for member in members), *self._catalogue.clouds)
        self._series.set_breakers({name: _BREAKERS[breakers[name].state] for name in names})
        show(self._series, self._ledger.health)
        return self._series.render()

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
        self._targets.serve(found, self._catalogue)
        self._router.serve(found)
        served = (name for name, _ in self._targets.served())
        known = self._catalogue
        self._names = frozenset((*served, *known.router.aliases, *known.clouds))


def _bug(task: asyncio.Task[None]) -> BaseException | None:
    """What ended a task that was to go on."""
    return task.exception() if task.done() and not task.cancelled() else None
