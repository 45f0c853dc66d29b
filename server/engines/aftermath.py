"""What follows the failure of an engine that will not be launched again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from server.engines.ladder import difference
from server.engines.member import Member
from server.engines.refusal import among_strangers
from server.engines.roster import Roster
from server.engines.surveyor import Surveyor
from server.engines.tenure import Tenure
from server.engines.yard import Yard
from server.errors import DoesNotFit, EngineError, HoldfastError

log = logging.getLogger("holdfast")


class Aftermath:
    """Part of the fleet. `survey` looks at the machine again; it may lead to another plan."""

    def __init__(
        self,
        yard: Yard,
        roster: Roster,
        surveyor: Surveyor,
        survey: Callable[[], Awaitable[None]],
    ) -> None:
        self._yard = yard
        self._roster = roster
        self._surveyor = surveyor
        self._survey = survey

    async def follow(self, member: Member, tenure: Tenure) -> None:
        """Try one step down the ladder where memory was short, or tell all who wait the reason."""
        error = tenure.engine.last_error or EngineError(f"{member.name} failed")
        await self._survey()
        if member.tenure is not tenure or not member.planned:
            return
        if isinstance(error, DoesNotFit):
            member.tried.append(tenure.berth.deployment)
            try:
                if await self._step_down(member, error):
                    return
            except HoldfastError as further:
                error = further
        if isinstance(error, DoesNotFit):
            error = among_strangers(error, member.berth.needs, self._surveyor.rig)
        log.error("%s failed: %s", member.name, error.sentence)
        member.refuse(error, for_good=True)

    async def _step_down(self, member: Member, error: DoesNotFit) -> bool:
        """Try less memory, where there is a step left. Returns whether there was."""
        berth = member.berth
        if self._yard.lower is None:
            return False
        lower = await asyncio.to_thread(self._yard.lower, berth, tuple(member.tried))
        if lower is None:
            return False
        step = difference(berth.deployment, lower.deployment)
        log.warning("%s had too little memory (%s): trying %s", member.name, error.why, step)
        self._roster.renew(member, lower)
        member.steps.append(step)
        return True
