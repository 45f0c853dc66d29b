"""Speeds that were measured, and by how much they differ from the roofline's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp, log

from server.catalogue import EngineName

_LEAST, _MOST = 0.25, 4.0
"""Ratios beyond these say nothing of the hardware and do not count. llama-server's threads wait
spinning: beside two busy processes on two cores it gave 1.6 tokens/s in the place of 41 (measured).
"""


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

    @property
    def key(self) -> tuple[EngineName, str, tuple[str, ...]]:
        return self.engine, self.build, self.products

    @property
    def tells(self) -> bool:
        """Whether any of its figures says something of the hardware."""
        return any(map(_counts, (self.prefill, self.decode, self.decode_all)))


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements, from which later plans are corrected."""

    measurements: tuple[Measurement, ...] = ()

    def with_one(self, new: Measurement) -> Measured:
        """With a new one, which counts as much as all before it of the same engine, build and
        devices. Unchanged where it tells nothing."""
        if not new.tells:
            return self
        before = [m for m in self.measurements if m.key == new.key]
        others = tuple(m for m in self.measurements if m.key != new.key)
        return Measured((*others, _mixed(before[-1], new) if before else new))

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


def _mixed(before: Measurement, new: Measurement) -> Measurement:
    return replace(
        new,
        prefill=_newer(before.prefill, new.prefill),
        decode=_newer(before.decode, new.decode),
        decode_all=_newer(before.decode_all, new.decode_all),
    )


def _newer(before: float | None, new: float | None) -> float | None:
    """The geometric mean of those that count."""
    known = [ratio for ratio in (before, new) if _counts(ratio)]
    return _mean(known, 1.0) if known else None


def _counts(ratio: float | None) -> bool:
    return ratio is not None and _LEAST <= ratio <= _MOST


def _mean(ratios: Iterable[float | None], default: float) -> float:
    usable = [ratio for ratio in ratios if ratio is not None and _counts(ratio)]
    return exp(sum(log(ratio) for ratio in usable) / len(usable)) if usable else default
