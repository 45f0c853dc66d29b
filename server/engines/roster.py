"""Who belongs to the fleet: its members, those that are leaving, and how a plan changes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from server.engines.berth import Berth, starts
from server.engines.decision import Action
from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.member import Member
from server.engines.occupant import Occupant
from server.engines.slots import SlotQueue
from server.engines.tenure import Tenure
from server.engines.yard import Yard


class Roster:
    """Changed by the fleet alone.

    `call` wakes the fleet; `quiet` is told of a member of which nothing runs any more; `watched`
    begins to watch a tenure's engine.
    """

    def __init__(
        self,
        yard: Yard,
        call: Callable[[], None],
        quiet: Callable[[Member], None],
        watched: Callable[[Tenure], tuple[asyncio.Task[None], ...]],
        clock: Callable[[], float],
    ) -> None:
        self.members: dict[str, Member] = {}
        """By name, in the order in which they start."""
        self._leaving: list[Member] = []
        self._yard = yard
        self._call = call
        self._quiet = quiet
        self._watched = watched
        self._clock = clock

    def everybody(self) -> list[Member]:
        """The members, and those that are leaving."""
        return [*self.members.values(), *self._leaving]

    def occupants(self) -> list[Occupant]:
        """All engines as decisions see them."""
        return [one for member in self.everybody() for one in member.occupants()]

    def acting(self, action: Action) -> Member:
        """Whom an action concerns."""
        known = self.members.get(action.name)
        if known is not None and (not action.leaving or known.former is not None):
            return known
        return next(member for member in self._leaving if member.name == action.name)

    def become(self, berths: Sequence[Berth]) -> None:
        """Have a member for each of `berths`; all others are leaving.

        Raises HoldfastError, having changed nothing, if one of them cannot be launched here.
        """
        known = {member.name: member for member in self.everybody()}
        made = [(berth, self._made(berth, known.get(berth.name))) for berth in berths]
        self.members = {
            berth.name: self._member(berth, engine, known.pop(berth.name, None))
            for berth, engine in made
        }
        self._leaving = list(known.values())
        for member in self._leaving:
            member.planned = False

    def forget(self) -> None:
        """Let go of those that have left."""
        self._leaving = [member for member in self._leaving if member.present]

    def _made(self, berth: Berth, known: Member | None) -> Engine | None:
        """The engine of a berth that is new or other than before; None where what is can stay."""
        if known is not None and _stays(known, berth):
            return None
        queue = self._new_queue() if known is None else known.queue
        return self._yard.engine(berth.deployment, queue)

    def _new_queue(self) -> SlotQueue:
        queue = SlotQueue(1, self._yard.queue_limit)
        queue.pause()
        return queue

    def _member(self, berth: Berth, engine: Engine | None, member: Member | None) -> Member:
        if member is None:
            assert engine is not None
            queue = engine.queue
            queue.resize(engine.launch.slots)
            member = Member(berth, queue, engine, self._call, self._clock)
            queue.on_quiet = lambda: self._quiet(member)
            member.tenure.watchers = self._watched(member.tenure)
        elif engine is None:
            now = member.berth
            same = now.deployment == berth.deployment
            came_down = replace(berth, deployment=now.deployment, needs=now.needs)
            member.tenure.berth = berth if same else came_down
        else:
            self._succeed(member, Tenure(berth, engine, load_seconds=berth.load_seconds))
        member.planned = True
        member.wanted = member.wanted or starts(berth)
        return member

    def renew(self, member: Member, berth: Berth) -> None:
        """Another engine for a member whose own has failed."""
        engine = self._yard.engine(berth.deployment, member.queue)
        self._succeed(member, Tenure(berth, engine, load_seconds=berth.load_seconds))
        self._call()

    def _succeed(self, member: Member, tenure: Tenure) -> None:
        old = member.tenure
        if old.phase in ("off", "failed"):
            old.unwatch()
        elif member.former is None:
            member.former = old
        member.tenure = tenure
        member.queue.open()
        tenure.watchers = self._watched(tenure)

    def under(self, berths: Sequence[Berth]) -> list[Occupant]:
        """What there would be under other berths, for a look ahead."""
        planned = {berth.name: berth for berth in berths}
        found = []
        for member in self.everybody():
            berth = planned.get(member.name)
            stays = berth is not None and _stays(member, berth)
            for one in member.occupants():
                if berth is not None and stays:
                    found.append(replace(one, pinned=berth.pin, wanted=one.wanted or starts(berth)))
                elif one.holds:
                    found.append(replace(one, leaving=True))
            if stays:
                del planned[member.name]
        return found + [_off(berth) for berth in planned.values()]


def _stays(member: Member, berth: Berth) -> bool:
    """Whether it runs, or would, as `berth` says: or as what it came down to from there."""
    if member.came_down(berth):
        return True
    return member.berth.deployment == berth.deployment and member.engine.state is not State.FAILED


def _off(berth: Berth) -> Occupant:
    """A berth of which nothing runs."""
    return Occupant(
        name=berth.name,
        needs=berth.needs,
        devices=berth.devices,
        phase="off",
        asleep=berth.asleep,
        pinned=berth.pin,
        resident=berth.residency == "resident",
        wanted=starts(berth),
        ttl=0.0 if berth.residency == "asleep" else berth.ttl,
        load_seconds=berth.load_seconds,
    )
