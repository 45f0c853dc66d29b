"""What overflow is compared with."""

from __future__ import annotations

import pytest

from scripts.benchmarks.spillover import (
    Outcome,
    cheapest,
    hull,
    next_threshold,
    spent_at,
)

CURVE = {
    0: Outcome(1.0, 10.0),
    1: Outcome(0.98, 6.0),
    2: Outcome(0.90, 5.5),  # dearer than a mixture of its neighbours
    3: Outcome(0.80, 2.0),
    4: Outcome(0.60, 2.5),  # dearer than the one before, and worse
}


def test_the_hull_leaves_out_what_a_mixture_beats() -> None:
    assert hull(CURVE.values()) == [CURVE[3], CURVE[1], CURVE[0]]


@pytest.mark.parametrize(
    ("attained", "spent"),
    [(1.0, 10.0), (0.99, 8.0), (0.98, 6.0), (0.89, 4.0), (0.80, 2.0), (0.3, 2.0)],
)
def test_what_a_mixture_of_two_thresholds_costs(attained: float, spent: float) -> None:
    assert spent_at(attained, CURVE) == pytest.approx(spent)


def test_more_than_any_attains() -> None:
    assert spent_at(0.9, {2: Outcome(0.7, 1.0)}) is None


def test_two_that_attain_the_same() -> None:
    curve = {0: Outcome(1.0, 10.0), 1: Outcome(1.0, 4.0), 2: Outcome(0.9, 1.0)}
    assert spent_at(1.0, curve) == 4.0
    assert spent_at(0.95, curve) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("attained", "slack", "found"),
    [(0.98, 0.0, 1), (0.985, 0.01, 1), (0.995, 0.01, 0), (0.89, 0.0, 2), (1.1, 0.01, None)],
)
def test_the_cheapest_single_threshold(attained: float, slack: float, found: int | None) -> None:
    assert cheapest(attained, CURVE, slack) == found


@pytest.mark.parametrize(
    ("ours", "curve", "tried"),
    [
        (0.97, {1: 1.0, 2: 0.99, 3: 0.95, 4: 0.9, 6: 0.8, 8: 0.7}, [3, 4, 2]),
        (0.85, {1: 1.0, 2: 0.99, 3: 0.95, 4: 0.9, 6: 0.8, 8: 0.7}, [3, 4, 6, 8]),
        (0.5, {1: 1.0, 2: 0.99, 3: 0.95, 4: 0.9, 6: 0.8, 8: 0.7}, [3, 4, 6, 8]),
        (1.0, {1: 0.98, 2: 0.9, 3: 0.8, 4: 0.7, 6: 0.6, 8: 0.5}, [3, 4, 2, 1]),
        (0.9, {1: 1.0, 2: 0.99, 3: 0.95, 4: 0.8, 6: 0.93, 8: 0.7}, [3, 4, 6, 8]),
    ],
)
def test_thresholds_are_tried_on_both_sides(
    ours: float, curve: dict[int, float], tried: list[int]
) -> None:
    known = {0: Outcome(1.0, 9.0)}
    found = []
    while (threshold := next_threshold(ours, known, (1, 2, 3, 4, 6, 8))) is not None:
        known[threshold] = Outcome(curve[threshold], 1.0)
        found.append(threshold)
    assert found == tried
