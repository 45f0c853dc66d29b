"""Scores and a task's weights -> how capable a model is of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue import BENCHMARKS
from server.catalogue.capability import capabilities, capability, reaches
from server.catalogue.router import Task

CODING = Task("coding", {"gpqa": 2, "ifeval": 1, "tau2": 1}, floor=60)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"gpqa": 80, "ifeval": 90, "tau2": 50, "mmmlu": 1}, 75.0),
        ({"gpqa": 80, "ifeval": 90}, 250 / 3),  # three quarters of the weight are known
        ({"gpqa": 80}, 80.0),  # half
        ({"ifeval": 90}, None),  # a quarter
        ({"mmmlu": 90}, None),
        ({}, None),
    ],
)
def test_the_weighted_mean_of_what_is_known(
    scores: Mapping[str, float], expected: float | None
) -> None:
    assert capability(scores, CODING) == expected


def test_a_task_that_is_not_known_is_absent() -> None:
    chat = Task("chat", {"mmmlu": 1})
    assert capabilities({"gpqa": 80}, (CODING, chat)) == {"coding": 80.0}


@pytest.mark.parametrize(
    ("known", "floor", "named", "enough"),
    [
        (60.0, 60.0, False, True),
        (59.9, 60.0, False, False),
        (59.9, 60.0, True, False),  # what is known to be too little stays so
        (None, 60.0, False, False),
        (None, 60.0, True, True),
        (None, 0.0, False, True),
        (0.0, 0.0, False, True),
    ],
)
def test_the_floor(known: float | None, floor: float, named: bool, enough: bool) -> None:
    assert reaches(known, floor, named=named) is enough


SCORES = st.dictionaries(st.sampled_from(BENCHMARKS), st.floats(0, 100))
WEIGHTS = st.dictionaries(st.sampled_from(BENCHMARKS), st.floats(0, 100), min_size=1)


@given(SCORES, WEIGHTS)
def test_it_lies_between_the_scores(
    scores: Mapping[str, float], weights: Mapping[str, float]
) -> None:
    value = capability(scores, Task("t", weights))
    if value is not None:
        own = [scores[name] for name in weights if name in scores]
        assert min(own) - 1e-9 <= value <= max(own) + 1e-9
