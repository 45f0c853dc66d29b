"""Placing the family: how long a proven plan takes, and how it compares with greedy best-fit's.

The time is that of all the work, from the catalogue to the proven plan: eight H100s, all sizes, all
builds of the catalogue. The comparison is over the corpus of machines and demands that the tests
plan for (tests/planning/machines.py), by the goals of planning/room.py in their order.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.programs import BenchError
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from server.errors import DoesNotFit
from server.planning.greedy import greedy
from server.planning.options import options
from server.planning.placement import place
from server.planning.plan import Option, Plan
from server.planning.room import score
from server.store.layout import Missing
from tests.planning.machines import CASES, Case

log = logging.getLogger("bench")

SECONDS = Target("at most", 2.0)
BELOW = Target("at most", 0.0)
_LARGEST = "8xH100-80G+2T"


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int
    every: int
    """Of the corpus, each how many-th case is planned."""


FULL = Effort(runs=5, every=1)
QUICK = Effort(runs=2, every=12)


@dataclass(frozen=True, slots=True)
class Beside:
    """One plan beside greedy's: the first goal in which they differ, and by which part."""

    goal: str
    """Empty: none."""
    gain: float
    """Of greedy's value; above 0: the plan is better."""
    gap: float
    """0: the plan is proven to be the best."""


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError where a plan is not proven."""
    largest = next(c for c in CASES if (c.hardware, c.wanted) == (_LARGEST, "auto"))
    _planned(largest)  # ortools is imported
    readings = []
    for run in range(effort.runs):
        begun = time.perf_counter()
        _, plan = _planned(largest)
        readings.append(time.perf_counter() - begun)
        log.info("placement, run %d: %.2f s", run + 1, readings[-1])
        if not plan.proven:
            raise BenchError(f"the plan for {_LARGEST} is not proven, gap {plan.gap:.2%}")
    compared, refused = _corpus(CASES[:: effort.every])
    sample = Sample(tuple(readings))
    return Report(
        {},
        (
            Result(
                "placement", "8 GPUs, 8 sizes, all builds", "s", sample, {}, sample.median, "s",
                SECONDS,
            ),
            *_results(compared),
        ),
        (_note(compared, refused),),
    )  # fmt: skip


def _results(compared: Sequence[Beside]) -> tuple[Result, ...]:
    gains = [100 * one.gain for one in compared if one.gain > 0]
    below = sum(one.gain < 0 for one in compared)
    above = 100 * len(gains) / len(compared)
    return (
        Result("placement", "below greedy", "plans", _one(below), {}, below, "plans", BELOW),
        Result("placement", "above greedy", "% of plans", _one(above), {}, above, "%"),
        Result(
            "placement", "by how much, in the first goal that differs", "%",
            Sample(tuple(gains) or (0.0,)), {}, Sample(tuple(gains) or (0.0,)).median, "%",
        ),
    )  # fmt: skip


def _one(value: float) -> Sample:
    return Sample((float(value),))


def _note(compared: Sequence[Beside], refused: int) -> str:
    goals = Counter(one.goal for one in compared if one.gain > 0)
    told = ", ".join(f"{goal} {count}" for goal, count in goals.most_common())
    proven = sum(one.gap == 0 for one in compared)
    widest = max(one.gap for one in compared)
    return (
        f"placement: {len(compared)} machines with demands, {proven} plans proven, the others to "
        f"within {widest:.2%}; {refused} demands that no plan meets; better than greedy first in: "
        f"{told}"
    )


def _corpus(cases: Sequence[Case]) -> tuple[list[Beside], int]:
    compared: list[Beside] = []
    refused = 0
    for case in cases:
        try:
            found, plan = _planned(case)
        except DoesNotFit:
            refused += 1
            continue
        compared.append(_beside(case, found, plan))
    return compared, refused


def _beside(case: Case, found: Sequence[Option], plan: Plan) -> Beside:
    theirs = score(greedy(found, case.demand, case.rig), case.demand, case.rig)
    for (goal, mine), (_, other) in zip(plan.objective, theirs, strict=True):
        if mine != other:
            return Beside(goal, (mine - other) / max(1, abs(other)), plan.gap)
    return Beside("", 0.0, plan.gap)


def _planned(case: Case) -> tuple[tuple[Option, ...], Plan]:
    demand, rig = case.demand, case.rig
    found, rejections = options(
        case.catalogue,
        demand,
        rig,
        lambda build: Missing(build, None, ()),
        held_only=False,
        engines=("llama-server", "vllm"),
        cuda=True,
    )
    return found, place(found, demand, rig, rejections=rejections)
