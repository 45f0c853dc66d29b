"""The supervisor of one engine.

One task owns an engine's life: it launches the process, waits until it answers, sees it exit,
relaunches it or gives up, and ends it. Others ask (`start`, `stop`, `replace`) or look on
(`state`, `wait_ready`, `status`). What may follow what is lifecycle.py's table, whether to
relaunch is restart.py's decision. What kind of engine it is only its program knows (program.py).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from server.engines import blame
from server.engines.failure import Failure
from server.engines.incarnation import Incarnation, launch
from server.engines.lifecycle import Event, State
from server.engines.log import EngineLog
from server.engines.naming import file_stem
from server.engines.program import Program
from server.engines.restart import GiveUp, Policy, decide
from server.engines.slots import SlotQueue
from server.engines.standing import Standing
from server.engines.status import EngineStatus
from server.errors import EngineError, EngineUnready, HoldfastError, StoreError

_GRACE = 2.0  # seconds from SIGTERM to SIGKILL; a drained engine has nothing left to finish
_FAILED_TAIL = 20  # lines of its log that a failed engine's status shows


class Engine:
    """One engine, kept running.

    `name` is the build's; `program` says how it is launched; `queue_limit` requests may wait for
    its slots; `load_timeout` seconds without progress make a loading engine stuck; its environment
    is taken from `environ`. Belongs to one event loop.
    """

    def __init__(
        self,
        name: str,
        program: Program,
        *,
        logs: Path,
        queue_limit: int = 64,
        load_timeout: float = 900.0,
        policy: Policy | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.launch = program
        self.restarts = 0
        self.queue = SlotQueue(program.slots, queue_limit)
        self.queue.pause()
        self.log = EngineLog(logs / f"{file_stem(name)}.log")
        self._load_timeout = load_timeout
        self._policy = policy or Policy()
        self._environment = program.environment(os.environ if environ is None else environ)
        self._standing = Standing(name, lambda: self.progress)
        self._life: asyncio.Task[None] | None = None
        self._stop: asyncio.Future[float] | None = None
        self._run: Incarnation | None = None
        self._blame: HoldfastError | None = None
        self._exits: deque[float] = deque(maxlen=self._policy.exits)

    @property
    def state(self) -> State:
        return self._standing.state

    @property
    def last_error(self) -> HoldfastError | None:
        """Why it last ended, or why it was not started."""
        return self._standing.last_error

    @property
    def session(self) -> aiohttp.ClientSession:
        """A client of the engine as it runs now, for paths such as `/v1/models`.

        It ends with the process that it talks to. Raises EngineUnready while there is none.
        """
        if self._run is None:
            raise self._standing.unready()
        return self._run.session

    @property
    def progress(self) -> float | None:
        """How much of the weights is loaded, 0 to 1; None unless the engine is starting."""
        if self.state is not State.STARTING:
            return None
        return 0.0 if self._run is None else self._run.progress

    async def start(self) -> None:
        """Check the weight files and launch the engine; loading goes on (see `wait_ready`).

        No effect on one that is running. Raises StoreError, and leaves the engine failed, if a
        file's header is malformed: the engine's own parser never sees such a file.
        """
        if self._life is not None:
            return
        self._standing.enter(Event.START)
        self._standing.last_error = None
        self._exits.clear()
        self.queue.open()
        loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        checked = loop.create_future()
        self._life = asyncio.create_task(self._live(self._stop, checked))
        await asyncio.shield(checked)  # the engine starts even if its caller has left

    async def wait_ready(self, patience: float | None = None) -> None:
        """Return when the engine is ready, having been started now or later.

        Raises EngineUnready after `patience` seconds or when it is being stopped, and the reason
        for which it failed if it did.
        """
        await self._standing.wait_ready(patience)

    async def recovered(self, patience: float | None = None) -> None:
        """After a connection to it broke: return when the engine is ready (again).

        A connection breaks a moment before the exit behind it is noticed; that moment is waited
        for first. An engine that lives on but listens no more is replaced: someone else asked it
        to end. Raises as `wait_ready` does.
        """
        await self._standing.noticed()
        if self.state is State.READY and self._run and not await self._run.listens():
            self.replace("it no longer listens")
            await self._standing.noticed()
        await self._standing.wait_ready(patience)

    async def changed(self) -> State:
        """The next state that the engine enters."""
        return await self._standing.changed()

    async def stop(self, drain_timeout: float) -> None:
        """End the engine; return when no process is left.

        New requests are refused at once; those accepted get `drain_timeout` seconds to finish. A
        second call with 0 ends the waiting of the first.
        """
        self.queue.close(EngineUnready(f"{self.name} is being stopped"))
        if self._life is None or self._stop is None:
            self.queue.fail_waiting(EngineUnready(f"{self.name} is stopped"))
            self._standing.enter(Event.STOP)
            return
        if not self._stop.done():
            self._stop.set_result(drain_timeout)
        elif drain_timeout <= 0 and self._run is not None:
            self._run.process.kill()
        await asyncio.wait({self._life})
        if self.state is State.FAILED:  # it failed before the wish to stop was seen
            self._standing.enter(Event.STOP)

    def replace(self, reason: str) -> None:
        """Kill a process that hangs; it is launched again as after any other exit."""
        if self._run is not None and self.state is not State.DRAINING:
            self._blame = EngineError(f"{self.name} was killed and is launched again", why=reason)
            self._run.process.kill()

    def refuse(self, reason: HoldfastError) -> None:
        """Leave an engine that does not run failed for `reason`, without launching it."""
        self._standing.enter(Event.START)
        self._give_up(reason)

    def status(self) -> EngineStatus:
        run = self._run
        return EngineStatus(
            name=self.name,
            state=self.state,
            pid=None if run is None else run.process.pid,
            seconds=self._standing.seconds,
            restarts=self.restarts,
            slots=self.queue.slots,
            running=self.queue.running,
            waiting=self.queue.waiting,
            context=self.launch.context,
            progress=self.progress,
            stage=None if run is None else run.stage,
            buffers=() if run is None else tuple(run.buffers),
            rss=0 if run is None else run.process.rss(),
            last_error=None if self.last_error is None else self.last_error.sentence,
            log_tail=self.log.tail(_FAILED_TAIL) if self.state is State.FAILED else (),
            log_file=self.log.path,
            socket=self.launch.socket,
            argv=tuple(self.launch.argv()),
        )

    async def _live(self, stop: asyncio.Future[float], checked: asyncio.Future[None]) -> None:
        """The owner: from START until the engine is stopped or failed."""
        try:
            weights = await self._check(checked)
            while weights is not None and await self._run_once(weights, stop):
                pass
        except Exception as bug:
            self._standing.enter(Event.EXITED)
            if self.state is State.STARTING:  # else it was to stop anyway
                self._give_up(EngineError(f"the supervisor of {self.name} broke", why=repr(bug)))
            raise
        finally:
            self._life = None
            if self._run is not None:  # cancelled, as when the event loop is shut down
                self._run.process.kill()
            if not checked.done():
                checked.cancel()

    async def _check(self, checked: asyncio.Future[None]) -> int | None:
        """Bytes of the weight files; None if one is malformed, and the engine failed for that."""
        try:
            weights = await asyncio.to_thread(self.launch.check_files)
        except StoreError as error:
            self._give_up(error)
            checked.set_exception(error)
            checked.exception()  # seen here, should its caller have left
            return None
        checked.set_result(None)
        return weights

    async def _run_once(self, weights: int, stop: asyncio.Future[float]) -> bool:
        """One process from launch to exit, and the wait after it. Returns whether to go on."""
        self.log.begin()
        try:
            run = self._run = await launch(self.launch, self._environment, self.log, weights)
        except HoldfastError as error:
            self._give_up(error)
            return False
        await self._accompany(run, stop)
        self.queue.pause()
        self._run = None
        status = await run.end()
        if self.state is State.DRAINING:
            self._standing.enter(Event.EXITED)
            return False
        failure = self.launch.classify(self.log.tail(), status, was_ready=run.was_ready)
        return await self._relaunch(failure, stop)

    async def _accompany(self, run: Incarnation, stop: asyncio.Future[float]) -> None:
        """Until the process has exited: load, serve, and drain if asked."""
        loading = asyncio.create_task(run.answer(self._load_timeout))
        await _first(loading, run.exited, stop)
        if not loading.done():
            loading.cancel()
        elif stuck := loading.exception():
            if not isinstance(stuck, HoldfastError):
                raise stuck
            self._blame = stuck
            run.process.kill()
        elif not run.exited.done():
            self._standing.enter(Event.ANSWERED)
            self.queue.resume()
        await _first(run.exited, stop)
        if stop.done():
            await self._drain(run, stop.result())
        await run.exited

    async def _drain(self, run: Incarnation, patience: float) -> None:
        was_ready = self.state is State.READY
        self._standing.enter(Event.STOP)
        if was_ready:
            idle = asyncio.create_task(self.queue.idle())
            await asyncio.wait(
                {idle, run.exited}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            idle.cancel()
        self.queue.fail_waiting(EngineUnready(f"{self.name} was stopped"))
        await run.session.close()  # llama-server would wait for idle connections to time out
        await run.process.stop(_GRACE)

    async def _relaunch(self, failure: Failure, stop: asyncio.Future[float]) -> bool:
        """Decide what follows an exit, and wait as long as that says. Returns whether to go on."""
        self._standing.enter(Event.EXITED)
        self._exits.append(time.monotonic())
        error = self._blame or blame.explain(self.name, failure, self.log.path)
        self._blame = None
        chance = random.random()  # noqa: S311 - spreads relaunches, guards nothing
        decision = decide(
            self._exits, permanent=failure.permanent, policy=self._policy, chance=chance
        )
        if isinstance(decision, GiveUp):
            self._give_up(blame.final(error, decision.reason))
            return False
        self._standing.last_error = error
        self.restarts += 1
        await asyncio.wait({stop}, timeout=decision.delay)
        if stop.done():
            self._standing.enter(Event.STOP)
            self.queue.fail_waiting(EngineUnready(f"{self.name} was stopped"))
            self._standing.enter(Event.EXITED)
        return not stop.done()

    def _give_up(self, error: HoldfastError) -> None:
        self._standing.last_error = error
        self._standing.enter(Event.GAVE_UP)
        self.queue.close(error)
        self.queue.fail_waiting(error)


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
