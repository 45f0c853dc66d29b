"""How capable a model is of a task, from its benchmark scores. Pure.

The same for local models and for those of clouds. Scores are those of the unquantized model, and
nothing is taken off for a quantized build: evaluations of Qwen3.5's GGUF builds on parts of GPQA,
MMLU-Pro, LiveCodeBench and MATH-500 (The Kaitchup, March 2026) find 4 bits and more as good within
their noise. Fewer bits do lose, but how much on which benchmark is published for too few builds to
be put into a formula: to such a build this does more than justice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.catalogue.router import Task

ENOUGH = 0.5
"""Part of a task's weight for which scores must be known."""


def capability(scores: Mapping[str, float], task: Task) -> float | None:
    """0 to 100: the mean of the task's benchmarks by weight, over those that the model has a score
    for. None, not known, where these make up less than half of the task's weight."""
    known = {name: weight for name, weight in task.benchmarks.items() if name in scores}
    weight = sum(known.values())
    if not weight or weight < ENOUGH * sum(task.benchmarks.values()):
        return None
    return sum(scores[name] * part for name, part in known.items()) / weight


def capabilities(scores: Mapping[str, float], tasks: Iterable[Task]) -> Mapping[str, float]:
    """By task; one for which it is not known is absent."""
    each = {task.name: capability(scores, task) for task in tasks}
    return {name: value for name, value in each.items() if value is not None}


def reaches(known: float | None, floor: float, *, named: bool) -> bool:
    """Whether a capability is enough. One that is not known is where the model was asked for by
    `name`, by the client or in the candidates of an alias or route, or where there is no floor."""
    if known is None:
        return named or floor <= 0
    return known >= floor
