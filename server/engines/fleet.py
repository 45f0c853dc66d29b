"""The sole owner of what runs: every engine of this Holdfast.

One loop (`run`) looks at all of it whenever something has changed, has `decide` say what to do, and
begins that. Everybody else leaves wishes: a plan (`apply`), a request (`Member.request`), `load`,
`unload`. What is under way is part of what the next decision sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence

from server.engines.aftermath import Aftermath
from server.engines.berth import Berth
from server.engines.decision import Action, Decision, Refusal, decide
from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.member import Member
from server.engines.occupant import Memory
from server.engines.refusal import does_not_fit
from server.engines.roster import Roster
from server.engines.surveyor import Surveyor
from server.engines.tenure import Tenure
from server.engines.transition import stays_wanted, transition
from server.engines.yard import Yard
from server.errors import EngineError, EngineUnready, HoldfastError, ModelNotFound
from server.planning.deployment import Deployment
from server.planning.rig import Rig

log = logging.getLogger("holdfast")


class Fleet:
    """`capacity`: bytes that engines may take of each memory pool. Belongs to one event loop."""

    def __init__(
        self, yard: Yard, capacity: Memory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called when other builds are served than before, or otherwise."""
        self._yard = yard
        self._capacity = capacity
        self._clock = clock
        self._roster = Roster(yard, self._call, self._quiet, self._watched, clock)
        self._event = asyncio.Event()
        self._looked = asyncio.Event()
        self._attentive = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._surveyor = Surveyor(yard, self._roster, clock)
        self._aftermath = Aftermath(yard, self._roster, self._surveyor, self._survey)

    @property
    def members(self) -> Mapping[str, Member]:
        """By name, in the order in which they start."""
        return self._roster.members

    # ---- Wishes ----

    def get(self, name: str) -> Member:
        """The member called `name`, or one that serves the model of that name. Raises
        ModelNotFound."""
        for member in self.members.values():
            if name in (member.name, member.berth.deployment.model):
                return member
        served = ", ".join(self.members) or "nothing"
        raise ModelNotFound(
            f"no engine serves {name!r}", next_step=f"Served: {served}", param="model"
        )

    def apply(self, berths: Sequence[Berth], capacity: Memory | None = None) -> None:
        """Become what `berths` say, in memory of `capacity` bytes by pool if that has changed.

        What is planned as it runs goes on; all else ends as soon as nothing of it runs. Raises
        HoldfastError, having changed nothing, if one of them cannot be launched here.
        """
        self._roster.become(berths)
        self._capacity = self._capacity if capacity is None else capacity
        if self.on_change is not None:
            self.on_change()
        self._call()

    def actions(
        self, berths: Sequence[Berth], capacity: Memory | None = None
    ) -> tuple[Action, ...]:
        """What `apply` would lead to, in order; nothing is changed."""
        return transition(
            self._roster.under(berths), self._capacity if capacity is None else capacity
        )

    def running(self) -> tuple[Deployment, ...]:
        """What serves now, as it was launched."""
        members = self.members.values()
        return tuple(m.berth.deployment for m in members if m.engine.state is State.READY)

    async def look(self) -> Rig:
        """What the machine has now for engines. Raises EngineError where nobody can tell."""
        await self._survey()
        if self._surveyor.rig is None:
            raise EngineError("this fleet cannot look at its machine")
        return self._surveyor.rig

    async def load(self, name: str) -> Member:
        """Have it loaded, others making room; return when it is ready. Raises what keeps it from
        that: DoesNotFit, or what its engine failed for."""
        member = self.get(name)
        if member.engine.state is State.FAILED:
            self._roster.renew(member, member.berth)
            member.tried.clear()
        member.queue.open()
        await member.want()
        return member

    async def unload(self, name: str) -> Member:
        """End its engine when what runs has finished; return when it is gone. A request, or `load`,
        brings it back; a `load` that is under way ends with EngineUnready."""
        member = self.get(name)
        member.settle(EngineUnready(f"{member.name} is being unloaded"))
        member.unload, member.wanted = True, False
        self._call()
        while member.unload:
            await self._looked.wait()
        return member

    async def settled(self) -> None:
        """Return when nothing is under way: all that is to run and can does."""
        while self._event.is_set() or self._tasks or not all(map(_rests, self._roster.everybody())):
            await self._looked.wait()

    async def stop_all(self, drain_timeout: float) -> None:
        """End every engine; requests that run get `drain_timeout` seconds. `run` is to be over."""
        members = self._roster.everybody()
        stopped = EngineUnready("Holdfast is stopping")
        for member in members:
            member.refuse(stopped, for_good=True)
        for task in self._tasks:
            task.cancel()
        tenures = [t for member in members for t in (member.tenure, member.former) if t]
        for tenure in tenures:
            tenure.unwatch()
        await asyncio.gather(*(tenure.engine.stop(drain_timeout) for tenure in tenures))

    # ---- The loop ----

    async def run(self) -> None:
        """Act, until cancelled."""
        while True:
            self._event.clear()
            decision = self._look()
            for action in decision.actions:
                self._begin(action)
            self._drain(decision)
            self._refuse(decision.refusals)
            self._note(decision)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(decision.again):
                    await self._event.wait()

    def _look(self) -> Decision:
        """See what has become of everything, and decide what to do about it."""
        for member in self._roster.everybody():
            self._attend(member)
        self._roster.forget()
        return decide(self._roster.occupants(), self._capacity)

    def _attend(self, member: Member) -> None:
        former, tenure = member.former, member.tenure
        if former is not None and former.phase in ("off", "failed"):
            former.unwatch()
            member.former = None
        if tenure.phase == "failed" and not tenure.buried:
            tenure.buried = True
            self._spawn(self._aftermath.follow(member, tenure))
        if tenure.phase == "ready" and not tenure.ready_since > tenure.begun:
            tenure.greet(self._clock())
            member.refusal = None
            for other in self._roster.everybody():
                if other is not member:
                    other.rhythm.overtake()
            log.info("%s is ready", member.name)
        if tenure.phase == "ready" and member.loading:
            member.settle(None)
        if member.unload and tenure.phase in ("off", "failed"):
            member.unload = False
        if not member.planned and tenure.phase in ("off", "failed"):
            member.refuse(EngineUnready(f"{member.name} is no longer served"), for_good=True)

    def _begin(self, action: Action) -> None:
        member = self._roster.acting(action)
        tenure = member.former if action.leaving and member.former else member.tenure
        log.log(logging.DEBUG if action.kind in ("start", "wake") else logging.INFO, "%s", action)
        if tenure.phase == "ready":
            member.vacate()
        tenure.begin(action.kind, self._clock())
        if action.kind == "stop" and not action.leaving:
            (occupant,) = (one for one in member.occupants() if not one.leaving)
            member.wanted = stays_wanted(occupant, action)
        self._spawn(tenure.act(action.kind))

    def _drain(self, decision: Decision) -> None:
        for member in self._roster.everybody():
            drain = member.name in decision.draining
            serving = (member.former or member.tenure).phase == "ready"
            if drain and serving and not member.draining:
                member.queue.pause()
            elif member.draining and not drain and serving:
                member.queue.resume()
            member.draining = drain and serving

    def _refuse(self, refusals: Sequence[Refusal]) -> None:
        """Tell who waits that it is in vain, after another look at what there is."""
        if not refusals:
            return
        if self._surveyor.stale:
            self._spawn(self._survey())
            return
        for refusal in refusals:
            member = self.members[refusal.name]
            error = does_not_fit(member.name, member.berth.needs, refusal, self._surveyor.rig)
            log.warning("%s", error.sentence)
            member.refuse(error)

    def _note(self, decision: Decision) -> None:
        waits = dict(decision.waits)
        for name, member in self.members.items():
            member.waits_for = waits.get(name, "")
        unsettled = any(m.unload or m.former or not m.planned for m in self._roster.everybody())
        self._attentive = bool(waits or decision.draining or unsettled)
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    # ---- The machine ----

    async def _survey(self) -> None:
        """Look at the machine again; a plan that uses a GPU which is gone is made anew."""
        rig = await self._surveyor.look()
        if rig is None:
            return
        self._capacity = rig.pools()
        lost = self._surveyor.lost()
        if lost and self._yard.replan is not None:
            log.error("%s cannot be used any more: planning without", " and ".join(lost))
            try:
                plan = await asyncio.to_thread(self._yard.replan, rig, self.running())
                self.apply(plan, rig.pools())
            except HoldfastError as error:
                log.error("no plan without it: %s", error.sentence)
        self._call()

    # ---- What is watched ----

    def _watched(self, tenure: Tenure) -> tuple[asyncio.Task[None], ...]:
        engine = tenure.engine
        watching = [self._follow(engine), self._yard.watchdog.watch(engine)]
        if self._yard.record is not None:
            watching.append(self._yard.record(engine, tenure.berth.deployment))
        return tuple(asyncio.create_task(one) for one in watching)

    async def _follow(self, engine: Engine) -> None:
        while True:
            restarts = engine.restarts
            await engine.changed()
            if engine.restarts > restarts:
                self._spawn(self._survey())  # it may have lost its GPU
            self._call()

    def _quiet(self, member: Member) -> None:
        member.rest()
        if self._attentive:
            self._call()

    def _call(self) -> None:
        self._event.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()):
            log.error("a bug in the fleet", exc_info=bug)
        self._call()


def _rests(member: Member) -> bool:
    """Whether nothing is under way with it."""
    tenure = member.tenure
    known = (
        tenure.buried if tenure.phase == "failed" else tenure.phase in ("off", "ready", "asleep")
    )
    return known and member.former is None and not member.unload
