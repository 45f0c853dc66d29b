"""Speeds that were measured, and by how much they differ from the roofline's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log

from server.catalogue import EngineName

_LEAST, _MOST = 0.05, 10.0
"""Ratios beyond these say nothing of the hardware: the machine was busy, or a clock wrong."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measured over predicted."""

    prefill: float = 1.0
    decode: float = 1.0
    decode_all: float = 1.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one deployment did, beside what the roofline (not corrected) said of it."""

    engine: EngineName
    build: str
    """Its full name."""
    products: tuple[str, ...]
    """Kinds of the devices that it worked on (`speed.products`)."""
    prefill: float | None = None
    """Measured over predicted; None: not measured. So are the next two."""
    decode: float | None = None
    decode_all: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements, from which later plans are corrected."""

    measurements: tuple[Measurement, ...] = ()

    def ratio(self, engine: EngineName, build: str, products: tuple[str, ...]) -> Ratio:
        """Of this build, else of all builds, with this engine on these devices; else 1.

        The geometric mean where there are several. Where no answers with every slot busy were
        measured, the ratio of one answer stands for them.
        """
        here = [m for m in self.measurements if (m.engine, m.products) == (engine, products)]
        known = [m for m in here if m.build == build] or here
        decode = _mean((m.decode for m in known), 1.0)
        return Ratio(
            prefill=_mean((m.prefill for m in known), 1.0),
            decode=decode,
            decode_all=_mean((m.decode_all for m in known), decode),
        )


NOTHING_MEASURED = Measured()


def _mean(ratios: Iterable[float | None], default: float) -> float:
    usable = [ratio for ratio in ratios if ratio is not None and ratio > 0]
    if not usable:
        return default
    mean = exp(sum(log(ratio) for ratio in usable) / len(usable))
    return min(_MOST, max(_LEAST, mean))
