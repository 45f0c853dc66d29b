"""From the configuration to what runs: the plan, and what the fleet is made with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from server.catalogue import Build, Catalogue
from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.inventory import Inventory, inventory
from server.engines.provision import Provision
from server.engines.served import Served, replanning, served
from server.engines.slots import SlotQueue
from server.engines.yard import Yard
from server.planning.deployment import Deployment
from server.planning.rig import Rig
from server.settings import Settings
from server.store.layout import Installed, Missing


@dataclass(frozen=True, slots=True)
class Outfit:
    catalogue: Catalogue
    found: Inventory
    served: Served

    def look(self, build: Build) -> Installed | Missing:
        """What of a build is on disk."""
        return self.found.look(build)


class Outfitter:
    """Plans what `load` says is to be served, at the start and whenever that is read anew.

    The fleet is made once, with `yard`, which follows each outfit that is adopted.
    """

    def __init__(
        self, settings: Settings, load: Callable[[], Catalogue], *, demo: bool = False
    ) -> None:
        self._settings = settings
        self._load = load
        self._demo = demo
        self._outfit: Outfit | None = None
        self._provision: Provision | None = None

    def prepare(self, rig: Rig, running: tuple[Deployment, ...] = ()) -> Outfit:
        """What the configuration, as it is now, asks for on `rig`, where `running` runs already.

        Reads files and may plan for seconds: for a thread. Raises ConfigError, and what
        `served.served` raises.
        """
        known = self._load()
        found = inventory(known, self._settings, rig)
        return Outfit(known, found, served(known, found, demo=self._demo, running=running))

    def adopt(self, outfit: Outfit) -> Outfit:
        """Make engines for this outfit from now on. Nothing is begun."""
        found = outfit.found
        self._outfit = outfit
        self._provision = Provision(
            self._settings, outfit.catalogue, found.programs, found.rig, found.look
        )
        return outfit

    @contextlib.contextmanager
    def adopting(self, outfit: Outfit) -> Iterator[None]:
        """Adopt it, and go back to the former one if the block raises."""
        former = self._outfit, self._provision
        self.adopt(outfit)
        try:
            yield
        except BaseException:
            self._outfit, self._provision = former
            raise

    def yard(self) -> Yard:
        """What a fleet is made with. To be called after the first `adopt`."""
        yard = self._provided.yard(self._replan)
        return replace(yard, engine=self._engine, lower=self._lower)

    @property
    def _provided(self) -> Provision:
        assert self._provision is not None
        return self._provision

    def _engine(self, deployment: Deployment, queue: SlotQueue) -> Engine:
        return self._provided.engine(deployment, queue)

    def _lower(self, berth: Berth, tried: Collection[Deployment]) -> Berth | None:
        return self._provided.lower(berth, tried)

    def _replan(self, rig: Rig, running: tuple[Deployment, ...]) -> tuple[Berth, ...]:
        outfit = self._outfit
        assert outfit is not None
        if outfit.served.plan is None:  # the demo, for which nothing is weighed
            return served(outfit.catalogue, replace(outfit.found, rig=rig), demo=True).berths
        return replanning(outfit.catalogue, outfit.found)(rig, running)
