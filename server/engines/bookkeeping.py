"""Keeps what engines teach: what each start really took, and how fast they really work.

Nothing rests on it: what cannot be read or written is told in the log, and the engine goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from server.catalogue import Build, Catalogue, Model
from server.engines.engine import Engine
from server.engines.inventory import read_weights
from server.engines.lifecycle import State
from server.engines.observations import Observations
from server.engines.program import Reserved, Work
from server.engines.speeds import ENOUGH, measure, record_speed
from server.errors import StoreError
from server.planning.calibration import learn, observe
from server.planning.deployment import Deployment
from server.planning.device import RAM_ID
from server.planning.footprint import footprint
from server.planning.rig import Rig
from server.planning.weights import WeightMap
from server.settings import Settings
from server.store.layout import Installed, Missing
from server.units import MIB

log = logging.getLogger("holdfast")

Lesson = TypeVar("Lesson")


@dataclass(frozen=True, slots=True)
class Bookkeeper:
    settings: Settings
    catalogue: Catalogue
    rig: Rig
    look: Callable[[Build], Installed | Missing]
    every: float = 30.0
    """Seconds between looks at what an engine has computed."""
    tiny: int = 64 * MIB
    """Bytes of weights below which a model's speed says nothing of others': they lie in the
    processor's caches (the demo is more than twice as fast as the roofline allows)."""

    async def follow(self, engine: Engine, deployment: Deployment) -> None:
        """Keep what `engine`, launched for `deployment`, teaches. Runs until it is cancelled."""
        seen: int | None = None
        enough = ENOUGH
        while True:
            pid = engine.status().pid if engine.state is State.READY else None
            if pid is not None and pid != seen:  # not where it only woke up
                seen, enough = pid, ENOUGH
                await self._keep(self._keep_memory, engine, deployment, await engine.taken())
            work = await engine.work()
            if work is not None and work.tokens >= enough:
                enough = 2 * work.tokens
                await self._keep(self._keep_speed, engine, deployment, work)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(engine.changed(), self.every)

    async def _keep(
        self,
        keep: Callable[[str, Deployment, Lesson], None],
        engine: Engine,
        deployment: Deployment,
        lesson: Lesson | None,
    ) -> None:
        if lesson is None:
            return
        try:
            await asyncio.to_thread(keep, engine.launch.version, deployment, lesson)
        except (OSError, StoreError, KeyError) as error:
            log.warning("what %s taught could not be kept: %s", engine.name, error)

    def _keep_memory(self, version: str, deployment: Deployment, taken: Reserved) -> None:
        model, weights = self._of(deployment)
        observations = Observations(self.settings.home)
        kinds = {gpu.id: gpu.product for gpu in self.rig.gpus} | {RAM_ID: RAM_ID}
        known = learn(observations.read(), versions={deployment.engine: version}, kinds=kinds)
        now = datetime.datetime.now(datetime.UTC)
        observations.add(
            observe(
                now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                deployment,
                version,
                kinds,
                footprint(deployment, model.architecture, weights),
                footprint(deployment, model.architecture, weights, known),
                taken,
            )
        )

    def _keep_speed(self, version: str, deployment: Deployment, work: Work) -> None:
        model, weights = self._of(deployment)
        if weights.total < self.tiny:
            return
        measured = measure(deployment, model.architecture, weights, self.rig, work)
        if measured is not None:
            record_speed(self.settings.home, measured)

    def _of(self, deployment: Deployment) -> tuple[Model, WeightMap]:
        """The model, and its weights as the files tell. Raises StoreError if they are gone."""
        model, build = self.catalogue.resolve(deployment.build)
        assert build is not None
        found = self.look(build)
        if isinstance(found, Missing):
            raise found.error()
        return model, read_weights(model, found)
