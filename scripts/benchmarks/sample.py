"""Repeated readings of one quantity, and what they come to."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """The same quantity, read once in each run."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Largest minus smallest, as a part of the median; 0 where there is only one reading."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


def sample(values: Iterable[float]) -> Sample:
    return Sample(tuple(values))


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` (0 to 1) of all are not above (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * part // 1)
    return ordered[max(0, int(rank) - 1)]


def paired_ratio(over: Sample, under: Sample) -> float:
    """The median of run by run `over` / `under`.

    Both of a pair were measured one right after the other, so what slows the machine for a while
    touches both alike; the ratio of two medians would let it in.
    """
    return statistics.median(a / b for a, b in zip(over.values, under.values, strict=True))


def paired_difference(of: Sample, less: Sample) -> float:
    """The median of run by run `of` - `less`, for the same reason."""
    return statistics.median(a - b for a, b in zip(of.values, less.values, strict=True))
