"""Waiting: after failures, for a limit, and because a source said so."""

from __future__ import annotations

import pytest

from server.store.transfer.pace import Bucket, Gate, Patience
from server.units import KIB, MIB


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.5), (2, 1), (4, 4), (7, 30), (8, 30), (10**6, 30)]
)
def test_waits_double_up_to_half_a_minute(failures: int, longest: float) -> None:
    patience = Patience()
    assert patience.wait(failures, lambda: 1.0) == longest
    assert patience.wait(failures, lambda: 0.0) == longest / 2
    assert longest / 2 <= patience.wait(failures) <= longest


def test_no_limit_never_waits() -> None:
    bucket = Bucket(None)
    assert bucket.take(10**12) == 0
    assert bucket.grain == MIB


@pytest.mark.parametrize(("rate", "chunk"), [(1000, 100), (10**6, 65536), (10**6, 10**6)])
def test_a_limit_is_kept_over_time(rate: int, chunk: int) -> None:
    clock = Clock()
    bucket = Bucket(rate, clock)
    taken = 0
    while clock.now < 1100:
        pause = bucket.take(chunk)
        taken += chunk
        clock.now += pause
    assert taken / (clock.now - 1000) == pytest.approx(rate, rel=0.02, abs=chunk / 100)


def test_a_quiet_while_is_not_made_up_for() -> None:
    clock = Clock()
    bucket = Bucket(1000, clock)
    bucket.take(1)
    clock.now += 3600
    assert bucket.take(1100) == pytest.approx(1.0)


@pytest.mark.parametrize(("rate", "grain"), [(10, 4 * KIB), (2_000_000, 100_000), (10**9, MIB)])
def test_a_low_limit_reads_little_at_once(rate: int, grain: int) -> None:
    assert Bucket(rate).grain == grain


def test_a_gate_is_shut_for_one_place_and_the_longest_wish_counts() -> None:
    clock = Clock()
    gate = Gate(clock)
    gate.shut("hub", 10)
    gate.shut("hub", 5)
    assert (gate.wait("hub"), gate.wait("cdn")) == (10, 0)
    clock.now += 11
    assert gate.wait("hub") == 0
