from __future__ import annotations

import random

import pytest

from server.routing.learning import Line, Recent, Upper


@pytest.mark.parametrize("expected", [(0.02, 0.001), (1.0, 0.1), (0.0, 0.00001)])
@pytest.mark.parametrize("actual", [(0.1, 0.002), (0.5, 0.01), (0.0, 0.0005)])
def test_a_line_finds_the_points(
    expected: tuple[float, float], actual: tuple[float, float]
) -> None:
    rnd = random.Random(1)
    line = Line(*expected, 1000)
    for _ in range(60):
        x = rnd.choice([10, 100, 500, 2000, 8000])
        line.add(x, (actual[0] + actual[1] * x) * rnd.uniform(0.95, 1.05))
    for x in (200, 1000, 5000):
        assert line(x) == pytest.approx(actual[0] + actual[1] * x, rel=0.12)


def test_a_line_whose_points_all_have_one_x_keeps_its_shape() -> None:
    line = Line(0.1, 0.001, 1000)
    for _ in range(30):
        line.add(500, 1.2)  # twice of what was expected
    assert line(500) == pytest.approx(1.2, rel=0.02)
    assert line(4000) == pytest.approx(8.2, rel=0.15)


def test_a_line_follows_a_change_and_not_an_outlier() -> None:
    line = Line(0.01, 0.001, 1000)
    for x in (100, 1000, 3000) * 10:
        line.add(x, 0.01 + 0.001 * x)
    line.add(1000, 500.0)
    assert line(1000) < 1.3
    for x in (100, 1000, 3000) * 20:
        line.add(x, 0.02 + 0.003 * x)
    assert line(1000) == pytest.approx(3.02, rel=0.1)


@pytest.mark.parametrize(
    "points",
    [
        ((1, 5.0), (1000, 0.1), (500, 2.0)),
        ((0.1, 0.001), (3.0, 9.0), (2.9, 0.5)),
        ((0.0, 0.02), (3.0, 0.02)),
        ((2.0, 0.3), (3.0, 3.0)),
    ],
)
def test_a_line_never_falls_and_nothing_is_for_nothing(
    points: tuple[tuple[float, float], ...],
) -> None:
    for line in (Line(0.1, 0.01, 100), Line(0.03, 0.005, 2)):
        for x, y in points * 10:
            line.add(x, y)
            assert line.a > 0
            assert line.b >= 0
            assert line(0.0) > 0


def test_a_line_is_measured_after_a_few_points() -> None:
    line = Line(0.1, 0.01, 100)
    assert not line.measured
    for _ in range(3):
        line.add(10, 0.2)
    assert line.measured


def test_the_median_of_the_latest() -> None:
    recent = Recent(5.0, kept=3)
    assert recent.value == 5.0
    for value in (1.0, 2.0, 100.0):
        recent.add(value)
    assert recent.value == 2.0
    for _ in range(2):
        recent.add(100.0)
    assert recent.value == 100.0


def test_what_all_but_a_part_of_the_latest_are_not_above() -> None:
    upper = Upper(1.25, part=0.05, kept=40)
    for _ in range(37):
        upper.add(1.1)
        assert upper.value == 1.25, "as long as it may be chance"
    upper.add(1.1)
    assert upper.value == 1.1
    for value in (9.0, 8.0):
        upper.add(value)
        assert upper.value == 1.1
    upper.add(7.0)
    assert upper.value == 7.0
    for _ in range(38):
        upper.add(1.1)
    assert upper.value == 1.1
