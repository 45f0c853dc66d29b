"""One engine's life, from the wish to have it until it is stopped or failed.

`Life.live` is the one task that launches the process, waits until it answers, sees it exit,
relaunches it or gives up, puts it to sleep, wakes it and ends it; others leave their wishes here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from server.engines import blame
from server.engines.failure import Failure
from server.engines.incarnation import Incarnation, launch
from server.engines.lifecycle import Event, State
from server.engines.log import EngineLog
from server.engines.program import Program
from server.engines.restart import GiveUp, Policy, decide
from server.engines.shortage import Shortage
from server.engines.slots import SlotQueue
from server.engines.standing import Standing
from server.errors import EngineError, EngineUnready, HoldfastError, StoreError

_GRACE = 2.0  # seconds from SIGTERM to SIGKILL; a drained engine has nothing left to finish


@dataclass(frozen=True, slots=True)
class Means:
    """What every life of one engine has in common."""

    name: str
    program: Program
    environment: Mapping[str, str]
    queue: SlotQueue
    log: EngineLog
    standing: Standing
    policy: Policy
    load_timeout: float
    """Seconds without progress after which a loading process is stuck."""
    lasting: bool = False
    """Whether the queue outlives the engine: those who wait then keep their place in it."""

    def give_up(self, error: HoldfastError) -> None:
        """The engine has failed, and all that wait for it are told why."""
        self.standing.last_error = error
        self.standing.enter(Event.GAVE_UP)
        self.close(error)
        self.turn_away(error)

    def close(self, error: HoldfastError) -> None:
        """Have no request begin; later ones are refused with `error`."""
        if self.lasting:
            self.queue.pause()
        else:
            self.queue.close(error)

    def turn_away(self, error: HoldfastError) -> None:
        """End the wait of those who wait with `error`."""
        if not self.lasting:
            self.queue.fail_waiting(error)

    async def drained(self) -> None:
        """Return when no request is left that the engine is to finish."""
        await (self.queue.quiet() if self.lasting else self.queue.idle())


@dataclass(frozen=True, slots=True)
class _Night:
    """A wish that the engine sleeps."""

    patience: float
    asleep: asyncio.Future[None]


class Life:
    """Made within the event loop; `live` is run once, as a task."""

    def __init__(self, means: Means) -> None:
        loop = asyncio.get_running_loop()
        self.checked: asyncio.Future[None] = loop.create_future()
        """Done once the weight files are; with StoreError if one is malformed."""
        self.run: Incarnation | None = None
        self._means = means
        self._stop: asyncio.Future[float] = loop.create_future()
        self._bedtime: asyncio.Future[_Night] | None = None
        self._morning = asyncio.Event()
        self._blame: HoldfastError | None = None
        self._exits: deque[float] = deque(maxlen=means.policy.exits)
        self._shortage = Shortage()

    # ---- Wishes ----

    def stop(self, drain_timeout: float) -> None:
        """End, after up to `drain_timeout` seconds for what runs; asked again with 0, at once."""
        if not self._stop.done():
            self._stop.set_result(drain_timeout)
        elif drain_timeout <= 0 and self.run is not None:
            self.run.process.kill()

    def sleep(self, patience: float) -> asyncio.Future[None] | None:
        """What is done when it sleeps, or has an error when it does not; None if it is not ready.

        What runs gets `patience` seconds to finish.
        """
        if self._bedtime is None or self._bedtime.done():
            return None
        asleep: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bedtime.set_result(_Night(patience, asleep))
        return asleep

    def wake(self) -> None:
        self._morning.set()

    def kill(self, why: HoldfastError) -> None:
        """Kill the process, if there is one; it is launched again as after any other exit."""
        if self.run is not None:
            self._blame = why
            self.run.process.kill()

    def answered(self, error: HoldfastError | None) -> None:
        """A request was answered, or refused with `error`."""
        if self._shortage.answered(error):
            self.kill(blame.short_of_memory(self._means.name))

    # ---- From start to end ----

    async def live(self) -> None:
        """From START until the engine is stopped or failed."""
        means = self._means
        try:
            weights = await self._check()
            while weights is not None and await self._run_once(weights):
                pass
        except Exception as bug:
            means.standing.enter(Event.EXITED)
            if means.standing.state is State.STARTING:  # else it was to stop anyway
                means.give_up(EngineError(f"the supervisor of {means.name} broke", why=repr(bug)))
            raise
        finally:
            if self.run is not None:  # cancelled, as when the event loop is shut down
                self.run.process.kill()
            if not self.checked.done():
                self.checked.cancel()

    async def _check(self) -> int | None:
        """Bytes of the weight files; None if one is malformed, and the engine failed for that."""
        try:
            weights = await asyncio.to_thread(self._means.program.check_files)
        except StoreError as error:
            self._means.give_up(error)
            self.checked.set_exception(error)
            self.checked.exception()  # seen here, should its caller have left
            return None
        self.checked.set_result(None)
        return weights

    async def _run_once(self, weights: int) -> bool:
        """One process from launch to exit, and the wait after it. Returns whether to go on."""
        means = self._means
        means.log.begin()
        self._shortage.begin()
        try:
            run = self.run = await launch(means.program, means.environment, means.log, weights)
        except HoldfastError as error:
            means.give_up(error)
            return False
        await self._accompany(run)
        means.queue.pause()
        self.run = None
        status = await run.end()
        if means.standing.state is State.DRAINING:
            means.standing.enter(Event.EXITED)
            return False
        failure = means.program.classify(means.log.tail(), status, was_ready=run.was_ready)
        failure = self._shortage.judge(failure, self._blame, was_ready=run.was_ready)
        ended = self._blame or blame.explain(means.name, failure, means.log.path)
        self._blame = None
        asleep = means.standing.state is State.ASLEEP
        means.standing.enter(Event.EXITED)
        if asleep:  # it held no memory, and may not take any until someone wants it again
            means.standing.last_error = ended
            means.close(EngineUnready(f"{means.name} is stopped"))
            return False
        return await self._relaunch(failure, ended)

    async def _accompany(self, run: Incarnation) -> None:
        """Until the process has exited: load, serve, sleep and wake, and drain if asked."""
        await self._await_answer(run, run.answer(self._means.load_timeout))
        while self._means.standing.state is State.READY and not self._ending(run):
            self._bedtime = asyncio.get_running_loop().create_future()
            await _first(run.exited, self._stop, self._bedtime)
            if self._bedtime.done():
                await self._night(run, self._bedtime.result())
        self._bedtime = None
        await _first(run.exited, self._stop)
        if self._stop.done():
            await self._drain(run, self._stop.result())
        await run.exited

    async def _await_answer(self, run: Incarnation, answer: Coroutine[Any, Any, None]) -> None:
        """A starting engine is ready once `answer` returns; if that raises, it is killed."""
        answering = asyncio.create_task(answer)
        await _first(answering, run.exited, self._stop)
        if not answering.done():
            answering.cancel()
        elif stuck := answering.exception():
            if not isinstance(stuck, HoldfastError):
                raise stuck
            self.kill(stuck)
        elif not run.exited.done():
            self._means.standing.enter(Event.ANSWERED)
            self._means.queue.resume()

    async def _drain(self, run: Incarnation, patience: float) -> None:
        means = self._means
        was_ready = means.standing.state is State.READY
        means.standing.enter(Event.STOP)
        if was_ready:
            drained = asyncio.create_task(means.drained())
            await _first(drained, run.exited, patience=patience)
            drained.cancel()
        means.turn_away(EngineUnready(f"{means.name} was stopped"))
        await run.disconnect()  # llama-server would wait for idle connections to time out
        await run.process.stop(_GRACE)

    async def _relaunch(self, failure: Failure, ended: HoldfastError) -> bool:
        """Decide what follows an exit, and wait as long as that says. Returns whether to go on."""
        means = self._means
        self._exits.append(time.monotonic())
        chance = random.random()  # noqa: S311 - spreads relaunches, guards nothing
        decision = decide(
            self._exits, permanent=failure.permanent, policy=means.policy, chance=chance
        )
        if isinstance(decision, GiveUp):
            means.give_up(blame.final(ended, decision.reason))
            return False
        means.standing.last_error = ended
        means.standing.restarts += 1
        await asyncio.wait({self._stop}, timeout=decision.delay)
        if self._stop.done():
            means.standing.enter(Event.STOP)
            means.turn_away(EngineUnready(f"{means.name} was stopped"))
            means.standing.enter(Event.EXITED)
        return not self._stop.done()

    # ---- Asleep ----

    async def _night(self, run: Incarnation, night: _Night) -> None:
        """From ready to asleep and back, or as far as it comes."""
        queue = self._means.queue
        queue.pause()
        quiet = asyncio.create_task(queue.quiet())
        await _first(quiet, run.exited, self._stop, patience=night.patience)
        busy = not quiet.done() or (queue.waiting > 0 and not self._means.lasting)
        quiet.cancel()
        if busy and not self._ending(run):
            queue.resume()
            night.asleep.set_exception(EngineUnready(f"{self._means.name} is busy"))
        elif not self._ending(run):
            await self._fall_asleep(run, night.asleep)
        if not night.asleep.done():
            night.asleep.set_exception(EngineUnready(f"{self._means.name} is going away"))
        night.asleep.exception()  # seen here, should its caller have left
        if self._means.standing.state is State.ASLEEP:
            await self._sleep_until_morning(run)

    async def _fall_asleep(self, run: Incarnation, asleep: asyncio.Future[None]) -> None:
        self._morning.clear()
        dozing = asyncio.create_task(run.doze())
        await _first(dozing, run.exited, self._stop)
        if not dozing.done():
            dozing.cancel()
        elif refused := dozing.exception():
            if not isinstance(refused, HoldfastError):
                raise refused
            asleep.set_exception(refused)
            self.kill(refused)
        else:
            self._means.standing.enter(Event.SLEPT)
            asleep.set_result(None)

    async def _sleep_until_morning(self, run: Incarnation) -> None:
        if self._means.queue.waiting and not self._means.lasting:  # who came while it fell asleep
            self._morning.set()
        morning = asyncio.create_task(self._morning.wait())
        await _first(morning, run.exited, self._stop)
        morning.cancel()
        if not self._ending(run):
            self._means.standing.enter(Event.START)
            await self._await_answer(run, run.rouse())

    def _ending(self, run: Incarnation) -> bool:
        return run.exited.done() or self._stop.done()


async def _first(*futures: asyncio.Future[Any], patience: float | None = None) -> None:
    await asyncio.wait(futures, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
