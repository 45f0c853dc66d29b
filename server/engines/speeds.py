"""How fast engines were beside what was predicted, kept in `<home>/state/speeds.json`.

One ratio for each engine, build and kinds of devices. A new measurement counts as much as all
before it together, so that a driver's or an engine's update shows after a few.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import orjson

from server.catalogue import Architecture, EngineName
from server.engines.program import Work
from server.planning.comparison import compare
from server.planning.deployment import Deployment
from server.planning.measured import NOTHING_MEASURED, Measured, Measurement
from server.planning.rig import Rig
from server.planning.weights import WeightMap
from server.store.durable import write_whole

ENOUGH = 256
"""Tokens below which an engine's speed is mostly that of its first steps."""
_KEPT = 256


def measure(
    deployment: Deployment, architecture: Architecture, weights: WeightMap, rig: Rig, work: Work
) -> Measurement | None:
    """What an engine's `work` says of the prediction; None where it was too little.

    Raises KeyError for a GPU that is not on the rig.
    """
    if work.tokens < ENOUGH or work.decode is None:
        return None
    return compare(deployment, architecture, weights, rig, work.decode)


def read_speeds(home: Path) -> Measured:
    """All that were measured; nothing where there is no file that can be read."""
    try:
        rows = orjson.loads(_file(home).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return NOTHING_MEASURED
    found = [_measurement(row) for row in rows] if isinstance(rows, list) else []
    return Measured(tuple(one for one in found if one is not None))


def record_speed(home: Path, measurement: Measurement) -> None:
    """Adds to what is kept, the newest last. Raises StoreError or OSError where that fails."""
    known = read_speeds(home)
    kept = known.with_one(measurement).measurements[-_KEPT:]
    if kept == known.measurements:
        return
    _file(home).parent.mkdir(parents=True, exist_ok=True)
    write_whole(_file(home), orjson.dumps([asdict(one) for one in kept]), mode=0o644)


def _file(home: Path) -> Path:
    return home / "state" / "speeds.json"


def _measurement(row: Any) -> Measurement | None:
    """A row of the file; None for what no version of ours wrote."""
    try:
        ratios = {key: row[key] for key in ("prefill", "decode", "decode_all")}
        found = Measurement(row["engine"], row["build"], tuple(row["products"]), **ratios)
    except (KeyError, TypeError):
        return None
    texts = (found.build, *found.products)
    sound = found.engine in get_args(EngineName) and all(isinstance(text, str) for text in texts)
    numbers = (ratio is None or isinstance(ratio, float) for ratio in ratios.values())
    return found if sound and all(numbers) else None
