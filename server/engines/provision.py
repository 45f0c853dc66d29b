"""How this machine's fleet gets its engines: from the catalogue, the store and the programs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from server.catalogue import Build, Catalogue, Model
from server.engines.berth import Berth, by_pool
from server.engines.bookkeeping import Bookkeeper
from server.engines.engine import Engine
from server.engines.inventory import read_weights
from server.engines.ladder import Footing, step_down
from server.engines.launching import Programs, launch_of
from server.engines.naming import file_stem
from server.engines.slots import SlotQueue
from server.engines.survey import survey
from server.engines.yard import Replan, Yard
from server.planning.deployment import Deployment
from server.planning.footprint import footprint
from server.planning.rig import Rig
from server.planning.sizing import threads
from server.settings import Settings
from server.store.layout import Installed, Missing


@dataclass(frozen=True, slots=True)
class Provision:
    settings: Settings
    catalogue: Catalogue
    programs: Programs
    rig: Rig
    look: Callable[[Build], Installed | Missing]

    def yard(self, replan: Replan | None = None) -> Yard:
        """What a fleet on this machine is made with; `replan` for when a GPU is lost."""
        return Yard(
            engine=self.engine,
            lower=self.lower,
            survey=lambda pids: survey(self.settings.home, pids),
            replan=replan,
            queue_limit=self.catalogue.serve.queue,
            record=Bookkeeper(self.settings, self.catalogue, self.rig, self.look).follow,
        )

    def engine(self, deployment: Deployment, queue: SlotQueue) -> Engine:
        """Raises EngineMissing, StoreError for weights that are not held, DoesNotFit."""
        model, build = self._resolve(deployment.build)
        installed = self._installed(build)
        program = launch_of(
            deployment,
            installed,
            model.architecture,
            self.programs,
            socket=self.settings.run / f"{file_stem(build.name)}.sock",
            threads=threads(installed.bytes, self.rig.cores),
            sleeps=self.catalogue.serve.sleep,
        )
        return Engine(
            build.name,
            program,
            logs=self.settings.logs,
            load_timeout=self.catalogue.serve.load_timeout,
            queue=queue,
        )

    def lower(self, berth: Berth, tried: Collection[Deployment]) -> Berth | None:
        """One step down the ladder from a berth whose engine had too little memory."""
        model, planned = self._resolve(berth.name)
        footing = Footing(
            layers=model.architecture.layers,
            experts=model.architecture.experts is not None,
            context=berth.least_context,
            slots=berth.least_slots,
            smaller=self._smaller(model, planned),
        )
        found = step_down(berth.deployment, tried, footing)
        if found is None:
            return None
        weights = read_weights(model, self._installed(self._resolve(found.build)[1]))
        predicted = footprint(found, model.architecture, weights)
        return replace(berth, deployment=found, needs=by_pool(predicted, self.rig))

    def _smaller(self, model: Model, planned: Build) -> tuple[str, ...]:
        """Held builds of the model for the same engine, smaller than the planned one."""
        most = self._installed(planned).bytes
        looks = [self.look(one) for one in model.builds if one.engine == planned.engine]
        held = [one for one in looks if isinstance(one, Installed) and one.bytes < most]
        return tuple(one.build.name for one in sorted(held, key=lambda one: -one.bytes))

    def _resolve(self, name: str) -> tuple[Model, Build]:
        model, build = self.catalogue.resolve(name)
        assert build is not None
        return model, build

    def _installed(self, build: Build) -> Installed:
        found = self.look(build)
        if isinstance(found, Missing):
            raise found.error()
        return found
