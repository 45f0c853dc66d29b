"""What engines really took beside what was predicted, and the corrections learnt from it. Pure.

A prediction is a formula's bytes times a factor. The factor is the median of actual / predicted
over the newest starts, so one odd start (another process' pages, a driver's hiccup) moves nothing,
and a single start already corrects. KV cache and state follow from the flags to the byte and are
never corrected: a difference there is a bug, which `planning/accuracy.py` makes visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from server.catalogue import EngineName
from server.planning.footprint.component import EXACT, Component

NEWEST = 9
"""Observations of a kind that count: after a driver's or an engine's update, old ones fade out."""
_LIMITS = (0.5, 2.0)
"""A factor beyond them says that something else was measured, or the formula is wrong."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One component of one engine on one device, as it was once ready."""

    engine: EngineName
    version: str
    """The engine program's own version."""
    device: str
    """The kind of device: a GPU's product name, or `ram`."""
    build: str
    deployment: str
    """`Deployment.key`."""
    component: Component
    predicted: int
    """Bytes by the formula alone: what factors are learnt from."""
    planned: int
    """Bytes that were planned with: the formula's, corrected by what was known then."""
    actual: int


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
        """What a formula's bytes are multiplied by; 1 where nothing is known."""
        kind = dict(self.kinds).get(device, device)
        version = dict(self.versions).get(engine)
        for one in self.corrections:
            if (one.engine, one.version, one.device, one.component) == (
                engine, version, kind, component,
            ):  # fmt: skip
                return one.factor
        return 1.0


NONE = Corrections()


def learn(
    observations: Iterable[Observation],
    *,
    versions: Mapping[EngineName, str],
    kinds: Mapping[str, str],
) -> Corrections:
    """What `observations`, oldest first, teach.

    `versions` of the installed engines: another version's observations say nothing of this one.
    `kinds` of the devices by id, such as `{"GPU-8a2c...": "NVIDIA H100 80GB HBM3"}`.
    """
    ratios: dict[tuple[EngineName, str, str, Component], list[float]] = {}
    for one in observations:
        if one.component in EXACT or one.predicted <= 0 or one.actual <= 0:
            continue
        key = (one.engine, one.version, one.device, one.component)
        ratios.setdefault(key, []).append(one.actual / one.predicted)
    least, most = _LIMITS
    found = tuple(
        Correction(*key, min(most, max(least, median(seen[-NEWEST:]))), len(seen[-NEWEST:]))
        for key, seen in sorted(ratios.items())
    )
    return Corrections(found, tuple(sorted(versions.items())), tuple(sorted(kinds.items())))
