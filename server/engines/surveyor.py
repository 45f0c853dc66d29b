"""Looks at the machine for the fleet: what there is for engines now, and what is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from server.engines.roster import Roster
from server.engines.yard import Yard
from server.planning.rig import Rig

_FRESH = 1.0
"""Seconds for which a look is as good as a new one."""


class Surveyor:
    def __init__(
        self, yard: Yard, roster: Roster, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rig: Rig | None = None
        """What was seen last."""
        self._yard = yard
        self._roster = roster
        self._clock = clock
        self._seen = float("-inf")

    @property
    def stale(self) -> bool:
        """Whether another look could tell more."""
        return self._yard.survey is not None and self._clock() - self._seen > _FRESH

    async def look(self) -> Rig | None:
        """What the machine has now; None where nobody can tell."""
        if self._yard.survey is not None:
            self.rig = await asyncio.to_thread(self._yard.survey, self._pids())
            self._seen = self._clock()
        return self.rig

    def lost(self) -> tuple[str, ...]:
        """GPUs that members are to use, and that were not seen in the last look."""
        if self.rig is None:
            return ()
        there = {device.id for device in self.rig.gpus}
        used = {gpu for m in self._roster.members.values() for gpu in m.berth.deployment.gpus}
        return tuple(sorted(used - there))

    def _pids(self) -> tuple[int, ...]:
        """Of our engines' first processes."""
        tenures = [t for m in self._roster.everybody() for t in (m.tenure, m.former) if t]
        pids = [tenure.engine.status().pid for tenure in tenures]
        return tuple(pid for pid in pids if pid is not None)
