"""A plan with all that the command tells around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.planning.demand import Demand
from server.planning.plan import Assignment, Option, Plan, Residency
from server.planning.rig import RAM_ID, Rig
from server.units import format_bytes

_ORDER: tuple[Residency, ...] = ("resident", "asleep", "on demand")
_MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Command:
    """How an engine would be launched."""

    build: str
    environment: Mapping[str, str]
    """What is set beside what the engine takes over from Holdfast's own."""
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that somebody may want to do next."""

    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class Draft:
    subject: str
    """What it is for: `this machine`, or what --hardware said."""
    command: str
    """What makes it again: `holdfast plan` with the flags that change the plan."""
    rig: Rig
    demand: Demand
    plan: Plan
    options: tuple[Option, ...] = ()
    """All that were weighed against each other."""
    commands: tuple[Command, ...] = ()
    here: bool = False
    """Whether it is for this machine, so that it can be run."""
    preload: frozenset[str] = frozenset()
    """Names of models or builds that are to be loaded at the start."""
    unheld: frozenset[str] = frozenset()
    """Models that had no chance because no build of them is in the store."""
    steps: tuple[Step, ...] = ()
    """What to do next."""

    @property
    def ordered(self) -> tuple[Assignment, ...]:
        """Residents, then sleepers, then what is loaded on demand; of each the ablest first."""
        return tuple(sorted(self.plan.assignments, key=_rank))

    def mark(self, assignment: Assignment) -> str:
        """The letter that stands for it in tables and bars."""
        position = self.ordered.index(assignment)
        return _MARKS[position] if position < len(_MARKS) else "#"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Models that were considered and are not in the plan."""
        placed = {a.wish.model for a in self.plan.assignments}
        return tuple(dict.fromkeys(w.model for w in self.demand.wishes if w.model not in placed))


def _rank(assignment: Assignment) -> tuple[int, float]:
    return _ORDER.index(assignment.residency), -assignment.option.capability


def machine_line(rig: Rig) -> str:
    """`2 x NVIDIA GeForce RTX 4090 (24.0 GiB), 256.0 GiB of RAM, 32 cores`"""
    kinds: dict[str, int] = {}
    for gpu in rig.gpus:
        memory = "uses RAM" if gpu.pool == RAM_ID else format_bytes(gpu.memory)
        kind = f"{gpu.product} ({memory})"
        kinds[kind] = kinds.get(kind, 0) + 1
    parts = [f"{count} x {kind}" if count > 1 else kind for kind, count in kinds.items()]
    parts = parts or ["no GPU"]
    return ", ".join([*parts, f"{format_bytes(rig.ram.memory)} of RAM", f"{rig.cores} cores"])
