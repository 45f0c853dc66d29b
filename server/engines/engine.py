"""The supervisor of one engine.

A life (life.py) owns its process; this is what others see of it. They ask (`start`, `stop`,
`sleep`, `wake`, `replace`) or look on (`state`, `wait_ready`, `status`). What may follow what is
lifecycle.py's table, whether to relaunch is restart.py's decision, and what kind of engine it is
only its program knows (program.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from server.engines.client import EngineClient
from server.engines.incarnation import Incarnation
from server.engines.life import Life, Means
from server.engines.lifecycle import Event, State
from server.engines.log import EngineLog
from server.engines.naming import file_stem
from server.engines.program import Program, Reserved, Work
from server.engines.restart import Policy
from server.engines.slots import SlotQueue
from server.engines.standing import Standing
from server.engines.status import EngineStatus
from server.errors import EngineError, EngineUnready, HoldfastError

_FAILED_TAIL = 20  # lines of its log that a failed engine's status shows


class Engine:
    """One engine, kept running.

    `name` is the build's; `program` says how it is launched; `queue_limit` requests may wait for
    its slots; `load_timeout` seconds without progress make a loading engine stuck; its environment
    is taken from `environ`. A `queue` that it is given outlives it: its slots are handed out while
    the engine is ready, and those who wait keep their place when it ends. Belongs to one event
    loop.
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
        queue: SlotQueue | None = None,
    ) -> None:
        self.name = name
        self.launch = program
        self.queue = SlotQueue(program.slots, queue_limit) if queue is None else queue
        self.queue.pause()
        self.log = EngineLog(logs / f"{file_stem(name)}.log")
        self._standing = Standing(name, lambda: self.progress)
        self._means = Means(
            name=name,
            program=program,
            environment=program.environment(os.environ if environ is None else environ),
            queue=self.queue,
            log=self.log,
            standing=self._standing,
            policy=policy or Policy(),
            load_timeout=load_timeout,
            lasting=queue is not None,
        )
        self._life: Life | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        return self._standing.state

    @property
    def last_error(self) -> HoldfastError | None:
        """Why it last ended, or why it was not started."""
        return self._standing.last_error

    @property
    def restarts(self) -> int:
        """Times that it was launched again after an exit."""
        return self._standing.restarts

    @property
    def session(self) -> aiohttp.ClientSession:
        """A client of the engine as it runs now, for paths such as `/v1/models`.

        It ends with the process that it talks to. Raises EngineUnready while there is none.
        """
        if self._run is None:
            raise self._standing.unready()
        return self._run.session

    @property
    def client(self) -> EngineClient:
        """The same for what it is there for: answers. Raises EngineUnready."""
        if self._run is None:
            raise self._standing.unready()
        return self._run.client

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
        if self._task is not None and not self._task.done():
            return
        self._standing.enter(Event.START)
        self._standing.last_error = None
        if not self._means.lasting:
            self.queue.open()
        life = self._life = Life(self._means)
        self._task = asyncio.create_task(life.live())
        await asyncio.shield(life.checked)  # the engine starts even if its caller has left

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
        self._means.close(EngineUnready(f"{self.name} is being stopped"))
        if self._life is None or self._task is None or self._task.done():
            self._means.turn_away(EngineUnready(f"{self.name} is stopped"))
            self._standing.enter(Event.STOP)
            return
        self._life.stop(drain_timeout)
        await asyncio.wait({self._task})
        if self.state is State.FAILED:  # it failed before the wish to stop was seen
            self._standing.enter(Event.STOP)

    async def sleep(self, patience: float = 0.0) -> None:
        """Have it give its GPU memory back and keep its weights in RAM; requests then wait.

        What runs gets `patience` seconds to finish first. No effect on one that sleeps. Raises
        EngineError if this engine cannot sleep or breaks over it, EngineUnready if it is not ready
        or still busy: it then goes on as before.
        """
        if self.launch.sleep is None:
            raise EngineError(
                f"{self.name} cannot be put to sleep",
                why=f"its {self.launch.engine} was not launched for that",
                next_step="Stop it instead",
            )
        if self.state is State.ASLEEP:
            return
        asleep = None if self._life is None else self._life.sleep(patience)
        if asleep is None:
            raise self._standing.unready()
        await asyncio.shield(asleep)

    async def wake(self, patience: float | None = None) -> None:
        """Have it take its memory again; return when it is ready, and found to be what it was.

        One that is not is launched again. Raises as `wait_ready` does.
        """
        if self._life is not None:
            self._life.wake()
        await self._standing.wait_ready(patience)

    async def taken(self) -> Reserved | None:
        """What it holds of the machine, by device and component; None unless it is ready.

        Right after it has become ready this is what was to be predicted: some components grow with
        use.
        """
        run = self._run
        return await run.taken() if run is not None and self.state is State.READY else None

    async def work(self) -> Work | None:
        """What it has computed since its process started; None if it does not tell now."""
        run = self._run
        return await run.work() if run is not None and self.state is State.READY else None

    def answered(self, error: HoldfastError | None = None) -> None:
        """A request was answered, or refused with `error`. One that again and again has no memory
        for a request fails, as if it had not started for want of memory."""
        if self._life is not None:
            self._life.answered(error)

    def replace(self, reason: str) -> None:
        """Kill a process that hangs; it is launched again as after any other exit."""
        if self._life is not None and self.state is not State.DRAINING:
            what = f"{self.name} was killed and is launched again"
            self._life.kill(EngineError(what, why=reason))

    def refuse(self, reason: HoldfastError) -> None:
        """Leave an engine that does not run failed for `reason`, without launching it."""
        self._standing.enter(Event.START)
        self._means.give_up(reason)

    @property
    def _run(self) -> Incarnation | None:
        return None if self._life is None else self._life.run

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
