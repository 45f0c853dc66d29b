"""What engines really took beside what was predicted, and the corrections learnt from it. Pure.

A prediction is a formula's bytes times a factor. The factor is the median of actual / predicted
over the newest starts, so one odd start (another process' pages, a driver's hiccup) moves nothing,
and a single start already corrects. KV cache and state follow from the flags to the byte, weights
from the files' headers, and are never corrected: a difference there is a bug, which
`planning/accuracy.py` makes visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from server.catalogue import EngineName
from server.planning.deployment import Deployment
from server.planning.footprint.component import RAM, Component, Footprint
from server.planning.footprint.correction import NONE, Correction, Corrections, is_estimate
from server.units import GIB, MIB

__all__ = ["NONE", "Correction", "Corrections", "Observation", "learn", "observe"]

NEWEST = 9
"""Observations of a kind that count: after a driver's or an engine's update, old ones fade out."""
_ROUNDING: Mapping[EngineName, float] = {"llama-server": 0.01 * MIB, "vllm": 0.01 * GIB}
"""Bytes to which an engine's log tells; a smaller difference is none."""
_LIMITS = (0.5, 2.0)
"""A factor beyond them says that something else was measured, or the formula is wrong."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One component of one engine on one device, as it was once ready."""

    start: str
    """When the engine was started, UTC as `2026-11-21T07:22:33Z`: the same for all of one start."""
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
        if not is_estimate(one.component) or min(one.predicted, one.actual) <= 0:
            continue
        key = (one.engine, one.version, one.device, one.component)
        told = abs(one.actual - one.predicted) > _ROUNDING[one.engine]
        ratios.setdefault(key, []).append(one.actual / one.predicted if told else 1.0)
    least, most = _LIMITS
    found = tuple(
        Correction(*key, min(most, max(least, median(seen[-NEWEST:]))), len(seen[-NEWEST:]))
        for key, seen in sorted(ratios.items())
    )
    return Corrections(found, tuple(sorted(versions.items())), tuple(sorted(kinds.items())))


def observe(
    start: str,
    deployment: Deployment,
    version: str,
    kinds: Mapping[str, str],
    predicted: Footprint,
    planned: Footprint,
    actual: Mapping[tuple[str, Component], int],
) -> tuple[Observation, ...]:
    """What a start teaches, one row for each device and component of which something is known.

    `predicted` by the formulas alone, `planned` with corrections; `actual` bytes by device id and
    component, of which `process` in RAM and `context` on a GPU are what is left when all that the
    engine tells is taken off. What it does not tell is in that rest, in the predicted proportion.
    `kinds` as in `learn`.
    """
    found = []
    for device in predicted.by_device():
        formula, plan = predicted.by_component(device), planned.by_component(device)
        told = {component: size for (place, component), size in actual.items() if place == device}
        for component, size in _completed(told, formula, device).items():
            found.append(
                Observation(
                    start,
                    deployment.engine,
                    version,
                    kinds.get(device, device),
                    deployment.build,
                    deployment.key,
                    component,
                    formula.get(component, 0),
                    plan.get(component, 0),
                    size,
                )
            )
    return tuple(found)


_GROWING: frozenset[Component] = frozenset({"checkpoints", "prompt_cache"})
"""Nothing of these is there when an engine is ready."""


def _completed(
    told: Mapping[Component, int], formula: Mapping[Component, int], device: str
) -> dict[Component, int]:
    """`told` with vLLM's pool divided into cache and state, and the rest among the untold."""
    complete = dict(told)
    if "kv_cache" in told and "state" not in told and "state" in formula:
        complete["state"] = formula["state"]
        complete["kv_cache"] = told["kv_cache"] - formula["state"]
    rest: Component = "process" if device == RAM else "context"
    untold = [c for c in formula if (c not in complete or c == rest) and c not in _GROWING]
    expected = sum(formula[component] for component in untold)
    if rest in told and expected:
        complete |= {c: round(told[rest] * formula[c] / expected) for c in untold}
    return complete
