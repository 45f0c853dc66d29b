"""How well memory is foretold: what was predicted beside what engines took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.catalogue import EngineName
from server.planning.calibration import Observation
from server.planning.footprint.component import COMPONENTS, Component


@dataclass(frozen=True, slots=True)
class Row:
    """One component of one deployment on one kind of device, or all of them; bytes."""

    engine: EngineName
    version: str
    build: str
    deployment: str
    """`Deployment.key`."""
    device: str
    component: Component | None
    """None: the sum over all components."""
    predicted: int
    """By the formula alone."""
    planned: int
    """Corrected by what was known at the time."""
    actual: int

    @property
    def difference(self) -> int:
        """Bytes that were planned too much; negative: too few."""
        return self.planned - self.actual

    @property
    def error(self) -> float | None:
        """`difference` as a share of the actual bytes; None where there were none."""
        return self.difference / self.actual if self.actual else None

    @property
    def first_error(self) -> float | None:
        """The same of the formula alone."""
        return (self.predicted - self.actual) / self.actual if self.actual else None


def rows(observations: Iterable[Observation]) -> tuple[Row, ...]:
    """The newest start of each deployment, by device, component and in sum; the newest start last.

    GPUs of one kind in one deployment are added up.
    """
    newest: dict[tuple[str, str, str], list[Observation]] = {}
    for one in sorted(observations, key=lambda one: one.start):
        key = (one.engine, one.deployment, one.device)
        if key in newest and newest[key][0].start != one.start:
            del newest[key]  # and so the key moves to the end
        newest.setdefault(key, []).append(one)
    return tuple(row for start in newest.values() for row in _of_start(start))


def worst(found: Iterable[Row]) -> Row | None:
    """The component whose plan was furthest off, as a share."""
    parts = [row for row in found if row.component is not None and row.error is not None]
    return max(parts, key=lambda row: abs(row.error or 0), default=None)


def _of_start(start: list[Observation]) -> Iterator[Row]:
    for component in COMPONENTS:
        same = [one for one in start if one.component == component]
        if same:
            yield _row(same, component)
    yield _row(start, None)


def _row(parts: list[Observation], component: Component | None) -> Row:
    one = parts[0]
    return Row(
        one.engine,
        one.version,
        one.build,
        one.deployment,
        one.device,
        component,
        sum(part.predicted for part in parts),
        sum(part.planned for part in parts),
        sum(part.actual for part in parts),
    )
