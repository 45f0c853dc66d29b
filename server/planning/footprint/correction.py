"""Factors by which estimates are corrected: learnt from starts in planning/calibration.py."""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import EngineName
from server.planning.footprint.component import EXACT, Component


def is_estimate(component: Component) -> bool:
    """Whether a component may be corrected at all.

    Weights are the tensors' bytes, and the header tells them: what the name of one build made us
    expect says nothing of another.
    """
    return component not in EXACT and component != "weights"


@dataclass(frozen=True, slots=True)
class Correction:
    engine: EngineName
    version: str
    device: str
    component: Component
    factor: float
    observations: int
    """How many it was learnt from."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Factors, looked up by what is installed and what the devices are."""

    corrections: tuple[Correction, ...] = ()
    versions: tuple[tuple[EngineName, str], ...] = ()
    """The version of each engine that would be launched."""
    kinds: tuple[tuple[str, str], ...] = ()
    """The kind of each device, by its id; RAM is its own kind."""

    def factor(self, engine: EngineName, device: str, component: Component) -> float:
        """What a formula's bytes are multiplied by; 1 where nothing is known, or it is exact."""
        if not self.corrections or not is_estimate(component):
            return 1.0
        kind = dict(self.kinds).get(device, device)
        version = dict(self.versions).get(engine)
        for one in self.corrections:
            if (one.engine, one.version, one.device, one.component) == (
                engine, version, kind, component,
            ):  # fmt: skip
                return one.factor
        return 1.0


NONE = Corrections()
