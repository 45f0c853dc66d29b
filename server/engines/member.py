"""A build of the fleet: its queue, which lasts, and its engine, which comes and goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from copy import copy

from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.occupant import Occupant
from server.engines.rhythm import Rhythm
from server.engines.slots import Lease, SlotQueue
from server.engines.tenure import Tenure
from server.engines.usage import Usage
from server.errors import HoldfastError
from server.planning.deployment import Deployment


class Member:
    """What requests and people ask for. Changed by the fleet alone (`fleet.py`).

    `call` wakes the fleet, for a request that finds no engine ready.
    """

    def __init__(
        self,
        berth: Berth,
        queue: SlotQueue,
        engine: Engine,
        call: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = berth.name
        self.queue = queue
        self.tenure = Tenure(berth, engine, load_seconds=berth.load_seconds)
        self.former: Tenure | None = None
        """What it ran before a change of plan, until that has ended."""
        self.planned = True
        """False: it ends for good as soon as nothing of it runs."""
        self.wanted = False
        self.urgent = False
        self.unload = False
        self.draining = False
        self.waits_for = ""
        """What it waits for to be loaded, in words."""
        self.steps: list[str] = []
        """What was taken back of the plan because memory was short."""
        self.tried: list[Deployment] = []
        """Configurations that failed for want of memory."""
        self.refusal: HoldfastError | None = None
        """Why it was last not loaded, though its engine did not fail."""
        self.usage = Usage(berth.weight)
        self.rhythm = Rhythm()
        self.loading: list[asyncio.Future[None]] = []
        """Of those who wait for it without a request."""
        self.idle_since = clock()
        self._asked_since = 0.0
        self._call = call
        self._clock = clock

    @property
    def berth(self) -> Berth:
        return self.tenure.berth

    @property
    def engine(self) -> Engine:
        """The one that serves it now, or will."""
        return self.tenure.engine

    @property
    def ready(self) -> bool:
        """Whether a request that comes now is served as soon as a slot is free."""
        serving = self.engine.state is State.READY and self.tenure.doing is None
        return serving and not self.draining

    @property
    def present(self) -> bool:
        """Whether any engine of it has not ended yet."""
        return self.former is not None or self.tenure.phase not in ("off", "failed")

    @property
    def in_order(self) -> bool:
        """Whether it runs or can be loaded, and is not just being started as it is to be always."""
        phase = self.tenure.phase
        if phase in ("starting", "off"):
            on_demand = self.berth.residency == "on demand" and not self.berth.preload
            evicted = phase == "off" and self.tenure.ready_since > 0
            return (on_demand or evicted) and self.refusal is None
        return phase != "failed"

    @property
    def idle(self) -> float:
        """Seconds without a request; 0 while one runs."""
        return 0.0 if self.queue.running else self._clock() - self.idle_since

    @property
    def error(self) -> HoldfastError | None:
        """Why it does not run though it was asked for, or why its engine last ended."""
        found = self.refusal or self.engine.last_error
        return None if found is None else copy(found)

    def request(self, client: str, count: int = 1) -> Lease:
        """A claim on `count` slots for `client`; who enters it waits for a slot of a ready engine,
        which is loaded if need be. Raises as `SlotQueue.acquire` does."""
        lease = self.queue.acquire(client, count)
        now = self._clock()
        if self.usage.requests and not self.queue.running and not self.queue.waiting:
            self.rhythm.resume(now - self.idle_since, loaded=self.ready)
        self.usage.note(now)
        if not self.ready:
            if not self.queue.waiting:
                self._asked_since = now
            self._call()
        return lease

    def describe(self) -> str:
        """What a request that has no slot yet waits for, in words for people, and how far it is."""
        progress = self.engine.progress
        return self.awaits + ("" if progress is None else f", {progress:.0%}")

    @property
    def awaits(self) -> str:
        """What a request that has no slot yet waits for, in words for people."""
        if self.ready:
            return f"waiting for a slot of {self.name}"
        if self.waits_for and self.engine.state is not State.STARTING:
            return f"{self.name} waits for {self.waits_for}"
        return f"{'waking' if self.tenure.doing == 'wake' else 'loading'} {self.name}"

    def want(self) -> asyncio.Future[None]:
        """Have it loaded for somebody who is no request; done when it is ready, or why not."""
        if not self.loading:
            self.urgent = True
            self._asked_since = self._clock()
        self.wanted, self.unload = True, False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.loading.append(waiter)
        self._call()
        return waiter

    def rest(self) -> None:
        """Nothing of it runs any more."""
        self.idle_since = self._clock()
        self.rhythm.rest()

    def vacate(self) -> None:
        """Its engine, which served it, goes: whoever waits for it waits from here on."""
        self._asked_since = self._clock()

    def occupants(self) -> Iterator[Occupant]:
        """Its engine as the fleet's decisions see it, and the one that it is to replace."""
        if self.former is not None:
            yield self._occupant(self.former, leaving=True)
        yield self._occupant(self.tenure, leaving=not self.planned)

    def refuse(self, error: HoldfastError, *, for_good: bool = False) -> None:
        """Tell all who wait why it is not loaded; `for_good`: those who come later as well, until
        somebody loads it."""
        self.refusal, self.wanted = error, False
        if for_good:
            self.queue.close(error)
        self.queue.fail_waiting(error)
        self.settle(error)

    def came_down(self, berth: Berth) -> bool:
        """Whether what `berth` says has failed before for want of memory: what it has come down to
        from there then stands."""
        return berth.deployment in self.tried

    def settle(self, error: HoldfastError | None) -> None:
        """Tell those who wait without a request that it is ready, or why it is not."""
        self.urgent = False
        waiters, self.loading = self.loading, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(copy(error))
                waiter.exception()  # seen here, should the one who asked have left

    def _occupant(self, tenure: Tenure, *, leaving: bool) -> Occupant:
        berth, now = tenure.berth, self._clock()
        phase, current = tenure.phase, tenure is self.tenure
        serves = phase == "ready" or tenure.doing == "stop"
        running = self.queue.running if serves else 0
        return Occupant(
            name=self.name,
            needs=berth.needs,
            devices=berth.devices,
            phase=phase,
            asleep=berth.asleep if tenure.engine.launch.sleep else None,
            pinned=berth.pin,
            resident=berth.residency == "resident",
            leaving=leaving,
            wanted=self.wanted and current,
            urgent=self.urgent and current,
            unload=self.unload,
            draining=self.draining,
            running=running,
            waiting=self.queue.waiting if current else 0,
            waited=now - self._asked_since,
            idle=0.0 if running else now - max(self.idle_since, tenure.ready_since),
            served=now - tenure.ready_since,
            woken=tenure.woken,
            pause=self.rhythm.pause,
            ttl=self._ttl(berth),
            load_seconds=tenure.load_seconds,
            wake_seconds=tenure.wake_seconds or tenure.load_seconds / 10,
            demand=self.usage.demand(now),
        )

    def _ttl(self, berth: Berth) -> float | None:
        """A sleeper that nobody has asked for yet sleeps at once."""
        return 0.0 if berth.residency == "asleep" and not self.usage.requests else berth.ttl
