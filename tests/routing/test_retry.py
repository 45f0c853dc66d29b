from __future__ import annotations

import pytest

from server.errors import (
    BudgetExceeded,
    EngineError,
    HoldfastError,
    Overloaded,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
    RequestError,
)
from server.routing.retry import RetryBudget, pause_before, worth_retrying


@pytest.mark.parametrize(
    ("tries", "luck", "retry_after", "expected"),
    [
        (1, 0.0, None, 0.0),
        (1, 1.0, None, 0.25),
        (2, 1.0, None, 0.5),
        (3, 0.5, None, 0.5),
        (4, 1.0, None, 2.0),
        (60, 1.0, None, 8.0),
        (1, 0.0, 3, 3.0),
        (1, 1.0, 3, 3.25),
        (2, 0.5, 1, 1.25),
    ],
)
def test_the_pause_doubles_is_jittered_and_honours_retry_after(
    tries: int, luck: float, retry_after: int | None, expected: float
) -> None:
    assert pause_before(tries, luck, retry_after) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error", "tries", "wait", "others", "expected"),
    [
        (ProviderError("500"), 1, 0.1, False, True),
        (ProviderError("500"), 2, 0.1, False, True),
        (ProviderError("500"), 3, 0.1, False, False),  # two retries are allowed
        (ProviderBusy("529"), 1, 0.1, False, True),
        (ProviderUnreachable("dns"), 1, 0.1, True, True),
        (ProviderBusy("429"), 1, 5.0, False, True),
        (ProviderBusy("429"), 1, 5.0, True, False),  # somebody else can be asked at once
        (ProviderBusy("429"), 1, 61.0, False, False),  # nobody waits that long
        (ProviderRefused("no money left"), 1, 0.0, False, False),
        (RequestError("nonsense"), 1, 0.0, False, False),
        (BudgetExceeded("spent"), 1, 0.0, False, False),
        (EngineError("broke"), 1, 0.0, False, False),  # attempt.py asks an engine twice itself
        (Overloaded("full"), 1, 0.0, False, False),
    ],
)
def test_what_is_tried_again(
    error: HoldfastError, tries: int, wait: float, others: bool, expected: bool
) -> None:
    assert worth_retrying(error, tries, 2, wait, others=others) is expected


def test_when_everything_fails_retries_are_a_fifth_of_the_traffic() -> None:
    budget = RetryBudget(0.2, burst=10)
    retries = 0
    for _ in range(1000):
        budget.deposit()
        retries += sum(budget.withdraw() for _ in range(2))
    assert 200 <= retries <= 10 + 200


def test_a_quiet_machine_may_retry_and_an_idle_one_saves_nothing_up() -> None:
    budget = RetryBudget(0.2, burst=3)
    assert [budget.withdraw() for _ in range(4)] == [True, True, True, False]
    for _ in range(1000):
        budget.deposit()
    assert [budget.withdraw() for _ in range(4)] == [True, True, True, False]


def test_without_a_share_nothing_is_retried() -> None:
    budget = RetryBudget(0.0)
    budget.deposit()
    assert not budget.withdraw()


def test_another_share_holds_at_once_and_fills_nothing_that_was_emptied() -> None:
    budget = RetryBudget(0.2, burst=2)
    budget.go_by(0.0)
    budget.deposit()
    assert not budget.withdraw(), "none any more"
    budget.go_by(0.5)
    assert [budget.withdraw() for _ in range(3)] == [True, True, False], "as at the beginning"
    budget.go_by(1.0)
    assert not budget.withdraw()
    budget.deposit()
    assert budget.withdraw()
