from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import (
    BudgetExceeded,
    EngineError,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
    RequestError,
)
from server.routing.breaker import (
    CLOSED,
    LONGEST_REST,
    Breaker,
    Breakers,
    Outcome,
    Rule,
    after,
    asked,
    outcome_of,
)

RULE = Rule(failures=3, pause=30.0)
TWO = Breaker("closed", 2)
OPEN = Breaker("open", 3, until=130.0)
PROBING = Breaker("probing", 3, until=100.0)
RESTING = Breaker("closed", 2, until=160.0, resting=True)

# Before, what ended at time 100, and what is then so.
TABLE: list[tuple[Breaker, Outcome, Breaker]] = [
    (CLOSED, "success", CLOSED),
    (CLOSED, "failure", Breaker("closed", 1)),
    (CLOSED, "neither", CLOSED),
    (CLOSED, "limited", Breaker("closed", 0, 107.0, resting=True)),
    (TWO, "success", CLOSED),
    (TWO, "failure", Breaker("open", 3, 130.0)),
    (TWO, "neither", TWO),
    (TWO, "limited", Breaker("closed", 2, 107.0, resting=True)),
    (RESTING, "success", replace(RESTING, failures=0)),
    (RESTING, "failure", Breaker("open", 3, 160.0)),
    (RESTING, "neither", RESTING),
    (RESTING, "limited", RESTING),
    (OPEN, "success", OPEN),
    (OPEN, "failure", replace(OPEN, failures=4)),
    (OPEN, "neither", OPEN),
    (OPEN, "limited", replace(OPEN, resting=True)),
    (PROBING, "success", CLOSED),
    (PROBING, "failure", Breaker("open", 4, 130.0)),
    (PROBING, "neither", Breaker("open", 3, 100.0)),
    (PROBING, "limited", Breaker("closed", 0, 107.0, resting=True)),
]


@pytest.mark.parametrize(("before", "outcome", "expected"), TABLE)
def test_what_follows_what(before: Breaker, outcome: Outcome, expected: Breaker) -> None:
    assert after(before, outcome, 100.0, RULE, rest=7.0) == expected


def test_the_table_is_whole() -> None:
    states = {(before.state, outcome) for before, outcome, _ in TABLE}
    assert len(states) == 3 * 4


def test_a_rest_is_never_cut_short_nor_endless() -> None:
    long = after(CLOSED, "limited", 0.0, RULE, rest=600.0)
    assert after(long, "limited", 1.0, RULE, rest=5.0).until == 600.0
    assert after(CLOSED, "limited", 0.0, RULE, rest=1e9).until == LONGEST_REST


@pytest.mark.parametrize(
    ("error", "limited", "expected"),
    [
        (None, False, "success"),
        (ProviderError("500"), False, "failure"),
        (ProviderUnreachable("refused"), False, "failure"),
        (ProviderRefused("key"), False, "failure"),
        (ProviderBusy("529"), False, "failure"),
        (ProviderBusy("529", retry_after=3), False, "limited"),
        (ProviderBusy("429"), True, "limited"),
        (ProviderBusy("429", retry_after=3), True, "limited"),
        (ProviderRefused("429, no money"), True, "failure"),
        (EngineError("broke"), False, "failure"),
        (RequestError("no such field"), False, "neither"),
        (BudgetExceeded("spent"), False, "neither"),
    ],
)
def test_only_what_is_its_own_fault_counts(
    error: HoldfastError | None, limited: bool, expected: Outcome
) -> None:
    assert outcome_of(error, limited=limited) == expected


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_and_closes_after_a_good_probe() -> None:
    clock = Clock()
    breakers = Breakers(RULE, clock)
    failure = ProviderError("it broke")
    for _ in range(2):
        assert breakers.admit("a")
        breakers.end("a", failure)
    breakers.end("a", None)
    for _ in range(3):
        assert breakers.admit("a")
        breakers.end("a", failure)
    assert not breakers.admit("a")
    assert breakers.admit("b"), "each target has its own"
    assert breakers.down("a") == (
        "it failed 3 times in a row, and is left alone for another 30.0 s"
    )
    assert breakers.wait("a") == 30
    assert breakers.rest("a") is None, "it is broken, and may be so for longer"
    clock.now = 30.0
    assert breakers.down("a") == ""
    assert breakers.admit("a")
    assert not breakers.admit("a"), "one request tries it, and no more"
    assert "just being tried again" in breakers.down("a")
    breakers.spoke("a")
    assert breakers.admit("a")
    assert breakers["a"] == CLOSED


def test_a_probe_that_is_broken_off_leaves_the_next_one_its_turn() -> None:
    clock = Clock()
    breakers = Breakers(Rule(1, 10.0), clock)
    breakers.admit("a")
    breakers.end("a", ProviderError("it broke"))
    clock.now = 10.0
    assert breakers.admit("a")
    breakers.end("a", None, seen_out=False)
    assert breakers.admit("a")
    breakers.end("a", ProviderError("still broken"))
    assert not breakers.admit("a")
    assert breakers.wait("a") == 10


def test_one_that_limits_us_rests_for_as_long_as_it_said() -> None:
    clock = Clock()
    breakers = Breakers(RULE, clock)
    breakers.admit("a")
    breakers.end("a", ProviderBusy("too many", retry_after=4), limited=True)
    assert breakers.down("a") == "it has had enough of our requests for the next 4.0 s"
    assert breakers.rest("a") == breakers.wait("a") == 4
    clock.now = 4.0
    assert breakers.admit("a")
    assert breakers.admit("a"), "it is not broken: no probe is needed"


def test_a_rest_lasts_though_what_was_asked_before_it_is_answered() -> None:
    clock = Clock()
    breakers = Breakers(RULE, clock)
    for _ in range(2):
        assert breakers.admit("a")
    breakers.end("a", ProviderBusy("too many", retry_after=60), limited=True)
    breakers.end("a", None)
    assert breakers.rest("a") == breakers.wait("a") == 60
    clock.now = 60.0
    breakers.end("a", None)
    assert breakers["a"] == CLOSED


def test_the_log_has_a_line_for_each_failure_until_it_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "holdfast")
    clock = Clock()
    breakers = Breakers(RULE, clock)
    down = ProviderUnreachable("acme cannot be reached", why="acme.example: Connection refused")
    for _ in range(5):  # two of them on their way when it opened
        breakers.end("acme/a", down)
    breakers.end("acme/a", RequestError("the client's mistake"))
    clock.now = 30.0
    assert breakers.admit("acme/a")
    breakers.end("acme/a", down)
    clock.now = 60.0
    assert breakers.admit("acme/a")
    breakers.spoke("acme/a")
    breakers.end("acme/a", None)
    why = "acme cannot be reached: acme.example: Connection refused."
    assert caplog.messages == [
        f"acme/a failed: {why}",
        f"acme/a failed: {why}",
        f"acme/a failed 3 times in a row, and is left alone for 30.0 s: {why}",
        f"acme/a failed 6 times in a row, and is left alone for 30.0 s: {why}",
        "acme/a answers again",
    ]


def test_the_log_says_once_that_a_cloud_limits_us(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    breakers = Breakers(RULE, clock)
    for _ in range(9):
        breakers.end("acme/a", ProviderBusy("too many", retry_after=4), limited=True)
    clock.now = 4.0
    breakers.end("acme/a", ProviderError("it broke"))
    assert caplog.messages == [
        "acme/a limits our requests, and is left alone for 4.0 s",
        "acme/a failed: it broke.",
    ]


def test_of_engines_the_log_says_only_that_they_are_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    breakers = Breakers(RULE, Clock())
    for _ in range(3):
        breakers.end("demo:f16", EngineError("it broke"))
    (only,) = caplog.messages
    assert only == "demo:f16 failed 3 times in a row, and is left alone for 30.0 s: it broke."


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["success", "failure", "limited", "neither"]),
            st.floats(0, 100),
            st.floats(0, 50),
        ),
        max_size=60,
    )
)
def test_whatever_happens_it_is_asked_again_some_day(
    happened: list[tuple[Outcome, float, float]],
) -> None:
    breaker, now = CLOSED, 0.0
    for outcome, later, rest in happened:
        now += later
        if breaker.admits(now):
            breaker = asked(breaker)
        breaker = after(breaker, outcome, now, RULE, rest)
        assert breaker.state != "probing" or outcome != "success"
        assert bool(breaker.down(now)) is not breaker.admits(now)
    if breaker.state != "probing":
        assert breaker.admits(max(now, breaker.until) if breaker.until > -math.inf else now)
