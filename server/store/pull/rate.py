"""How fast the last pull was, kept in `<home>/state/rate.json` to tell how long the next takes."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import orjson

from server.store.durable import write_whole
from server.units import MIB

ENOUGH = 16 * MIB
"""Bytes below which a pull tells nothing: most of its time is not spent on bytes."""


@dataclass(frozen=True, slots=True)
class Rate:
    bytes_per_second: float
    measured: datetime.date


def read_rate(state: Path) -> Rate | None:
    """The last rate; None where there is none that can be read."""
    try:
        raw = orjson.loads((state / "rate.json").read_bytes())
        rate = Rate(
            float(raw["bytes_per_second"]), datetime.date.fromisoformat(str(raw["measured"]))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rate if 0 < rate.bytes_per_second < 1e12 else None


def record_rate(state: Path, fetched: int, seconds: float, today: datetime.date) -> None:
    """Keeps the rate of a pull of `fetched` bytes, if it was long enough to tell one.

    Raises StoreError if it cannot be written.
    """
    if fetched < ENOUGH or seconds <= 0:
        return
    state.mkdir(parents=True, exist_ok=True)
    rate = {"bytes_per_second": round(fetched / seconds), "measured": today.isoformat()}
    write_whole(state / "rate.json", orjson.dumps(rate), mode=0o644)
