"""Why one way to run a model was not taken, in a few words with numbers. Pure.

A plan is the best of all of them together, so of each way that lost one of two things is true: it
has no room beside what else runs, or it makes people wait longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.cli.plan.draft import Draft
from server.cli.plan.table import where
from server.planning.alike import alike, canonical, moved
from server.planning.plan import Assignment, Option, Plan
from server.planning.rig import Rig
from server.units import format_bytes

_ALIKE = 1.01
"""Of waits that differ by less, nobody notices the difference."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What the rest of a plan leaves, by memory pool in bytes, and the model's place in it."""

    rig: Rig
    left: Mapping[str, int]
    assignment: Assignment | None

    @classmethod
    def of(cls, plan: Plan, rig: Rig, model: str) -> Beside:
        assignment = plan.of(model)
        left = {use.pool: use.free - use.used for use in plan.pools}
        if assignment is not None and assignment.residency == "resident":
            for device, size in assignment.option.footprint.by_device().items():
                left[rig.device(device).pool] += size
        return cls(rig, left, assignment)

    def verdict(self, option: Option) -> str:
        """Why `option` is not what the plan has; empty if it is."""
        chosen = None if self.assignment is None else self.assignment.option
        at = alike(self.rig)
        if chosen and canonical(option.deployment, at) == canonical(chosen.deployment, at):
            return ""
        short = self.short(self.roomiest(option))
        if short:
            return "short of " + ", ".join(
                f"{format_bytes(size)} on {self.rig.device(pool).name.partition(' (')[0]}"
                for pool, size in short.items()
            )
        if option.deployment.quantized_cache:
            return f"a KV cache in {option.deployment.kv_type} is for what f16 cannot meet"
        if chosen is None:
            return "what it takes of memory is worth more elsewhere"
        slower = option.token_seconds / chosen.token_seconds
        if slower > _ALIKE:
            return f"{slower:.1f} times the wait for a token"
        return "what it takes of memory is worth more elsewhere"

    def short(self, option: Option) -> Mapping[str, int]:
        """Bytes missing by pool."""
        needs: dict[str, int] = {}
        for device, size in option.footprint.by_device().items():
            pool = self.rig.device(device).pool
            needs[pool] = needs.get(pool, 0) + size
        missing = {pool: size - self.left.get(pool, 0) for pool, size in needs.items()}
        return {pool: size for pool, size in missing.items() if size > 0}

    def roomiest(self, option: Option) -> Option:
        """`option` on those GPUs, of all like its own, that have most left: largest to roomiest."""
        to: dict[str, str] = {}
        for group in alike(self.rig).of(option.deployment):
            own = [gpu for gpu in option.deployment.gpus if gpu in group]
            own.sort(key=option.footprint.on, reverse=True)
            room = sorted(group, key=lambda gpu: -self.left.get(self.rig.device(gpu).pool, 0))
            to.update(zip(own, room, strict=False))
        return moved(option, [to[gpu] for gpu in option.deployment.gpus])


@dataclass(frozen=True, slots=True)
class Way:
    option: Option
    verdict: str
    """Why it lost; empty: it won."""
    fits: bool
    """Beside the other models of the plan."""


def ways(draft: Draft, model: str) -> tuple[Way, ...]:
    """Of each build on each set of devices the best size that fits, else the best; the shortest
    wait first, and before it what won."""
    beside = Beside.of(draft.plan, draft.rig, model)
    best: dict[tuple[str, str], Way] = {}
    for option in draft.options:
        if option.deployment.model != model:
            continue
        fits = not beside.short(beside.roomiest(option))
        way = Way(option, beside.verdict(option), fits)
        kind = option.deployment.build, where(option.deployment, draft.rig)
        best[kind] = min(best.get(kind, way), way, key=_merit)
    return tuple(
        sorted(best.values(), key=lambda way: (bool(way.verdict), way.option.token_seconds))
    )


def _merit(way: Way) -> tuple[bool, bool, float]:
    return bool(way.verdict), not way.fits, way.option.token_seconds
