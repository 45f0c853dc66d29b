from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.benchmarks.machine import Others, busy_seconds, cpu_model, describe
from scripts.benchmarks.report import Report, Result, Target, joined, number, table
from scripts.benchmarks.sample import Sample, paired_difference, paired_ratio, percentile

MACHINE = {
    "date": "2026-11-21 10:00 UTC",
    "cpu": "Some Processor",
    "cores": 2,
    "versions": {"holdfast": "0.1.0"},
}


def result(figure: float, target: Target | None) -> Result:
    holdfast, direct = Sample((0.4, 0.42, 0.41)), Sample((0.05, 0.06, 0.05))
    return Result("overhead", "latency", "ms", holdfast, {"direct": direct}, figure, "ms", target)


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [((1.0,), 1.0, 0.0), ((3.0, 1.0, 2.0), 2.0, 1.0), ((1.0, 2.0, 3.0, 6.0), 2.5, 2.0)],
)
def test_median_and_spread(values: tuple[float, ...], median: float, spread: float) -> None:
    assert Sample(values).median == median
    assert Sample(values).spread == spread


@pytest.mark.parametrize(
    ("part", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)]
)
def test_percentile_is_the_nearest_rank(part: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), part) == expected


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0, 1))
def test_percentile_leaves_at_least_its_part_at_or_below(values: list[float], part: float) -> None:
    found = percentile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= math.floor(part * len(values))


def test_pairs_cancel_what_slows_both() -> None:
    """The machine was half as fast during the last two runs; the ratio is 0.9 in each."""
    direct, through = Sample((100.0, 50.0, 50.0)), Sample((90.0, 45.0, 45.0))
    assert paired_ratio(through, direct) == pytest.approx(0.9)
    assert paired_difference(direct, through) == 5.0
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio(through, Sample((1.0,)))


@pytest.mark.parametrize(
    ("target", "figure", "met"),
    [
        (Target("at least", 0.98), 0.98, True),
        (Target("at least", 0.98), 0.9799, False),
        (Target("at most", 1.2), 1.2, True),
        (Target("at most", 1.2), 1.2001, False),
        (None, 99.0, None),
    ],
)
def test_a_result_is_held_against_its_target(
    target: Target | None, figure: float, met: bool | None
) -> None:
    assert result(figure, target).met is met
    assert Report(MACHINE, (result(figure, target),)).missed is (met is False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0523, "0.052"),
        (0.98, "0.980"),
        (1.2, "1.2"),
        (38.66, "38.7"),
        (99.96, "100"),
        (4000, "4,000"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_table_shows_both_sides_target_and_verdict() -> None:
    rows = (
        result(0.36, Target("at most", 0.6)),
        result(0.7, Target("at most", 0.6)),
        result(1, None),
    )
    lines = table(Report(MACHINE, rows, ("a note",)))
    row = " ".join(lines[1].split())
    assert row == "overhead, latency 0.410 direct 0.050 ms 0.360 ms <= 0.600 met"
    assert lines[2].endswith("<= 0.600  MISSED")
    assert lines[3].endswith("1 ms")
    assert lines[5] == "* a note"
    assert lines[6].startswith("2026-11-21 10:00 UTC, 2 cores of Some Processor")


def test_record_is_one_line_with_every_reading() -> None:
    report = joined(MACHINE, [Report({}, (result(0.36, Target("at most", 0.6)),), ("a note",))])
    assert report.record().count("\n") == 1
    recorded = json.loads(report.record())
    assert recorded["results"][0]["holdfast"]["values"] == [0.4, 0.42, 0.41]
    assert recorded["results"][0]["met"] is True
    assert recorded["notes"] == ["a note"]


def test_the_machine_is_described_without_its_name() -> None:
    import socket

    machine = describe(llama_server="1")
    assert machine["versions"]["llama_server"] == "1"
    assert {"date", "cpu", "cores"} <= machine.keys()
    assert socket.gethostname() not in json.dumps(machine)


def test_cpu_model() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: A: B 7\nflags\t: x\n") == "A: B 7"
    assert cpu_model("processor\t: 0\n") != ""


def test_busy_seconds_leave_idle_and_waiting_out() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    numbers = [one * tick for one in (1, 2, 4, 1000, 1000, 8, 16, 32, 64, 128)]
    assert busy_seconds(f"cpu  {' '.join(map(str, numbers))}") == 63


def test_what_others_take_is_told_from_what_we_take() -> None:
    others = Others()
    child = subprocess.run([sys.executable, "-c", "for _ in range(10**7): pass"], check=True)
    assert child.returncode == 0
    ours = others.share()
    stranger = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    others = Others()
    time.sleep(0.5)
    theirs = others.share()
    stranger.kill()
    stranger.wait()
    assert theirs >= 0.2 / (os.cpu_count() or 1)
    assert 0 <= ours <= 1
