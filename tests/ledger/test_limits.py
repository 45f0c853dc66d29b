from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.router import Limits
from server.ledger.account import Party
from server.ledger.limits import Spent, day_of, left, month_of, next_month, refusal
from server.units import USD
from tests.ledger.money import DAY, NOON

TODAY = day_of(NOON)


@pytest.mark.parametrize(
    ("limits", "spent", "cost", "tokens", "allowed"),
    [
        (Limits(), Spent(day=10**18), 10**18, 10**18, True),
        (Limits(day=10), Spent(), 10, 0, True),
        (Limits(day=10), Spent(), 11, 0, False),
        (Limits(day=10), Spent(day=10), 1, 0, False),
        (Limits(day=10), Spent(day=4, held=4), 2, 0, True),
        (Limits(day=10), Spent(day=4, held=4), 3, 0, False),
        pytest.param(Limits(day=0), Spent(), 0, 5, True, id="what costs nothing needs no money"),
        pytest.param(Limits(day=0), Spent(), 1, 0, False, id="no cloud at all"),
        (Limits(month=10), Spent(day=0, month=9), 1, 0, True),
        (Limits(month=10), Spent(day=0, month=10), 1, 0, False),
        (Limits(day=100, month=10), Spent(month=8, held=2), 1, 0, False),
        (Limits(tokens_day=10), Spent(tokens_day=9), 0, 1, True),
        (Limits(tokens_day=10), Spent(tokens_day=9), 0, 2, False),
        (Limits(tokens_day=10), Spent(tokens_day=5, tokens_held=5), 0, 1, False),
        (Limits(tokens_month=10), Spent(tokens_month=10), 0, 1, False),
        (Limits(tokens_day=10), Spent(tokens_day=10), 5, 0, True),
    ],
)
def test_what_a_budget_allows(
    limits: Limits, spent: Spent, cost: int, tokens: int, allowed: bool
) -> None:
    error = refusal(Party("key", "k", limits), spent, cost, tokens, TODAY, NOON)
    assert (error is None) == allowed


def test_a_refusal_tells_whose_which_how_much_and_until_when() -> None:
    party = Party("team", "lab", Limits(day=5 * USD))
    error = refusal(party, Spent(day=4 * USD, held=USD // 2), USD, 0, TODAY, NOON)
    assert error is not None
    assert error.sentence == (
        "the budget of team lab for this day does not allow this request: of $5.00 $4.00 are "
        "spent, $0.50 are reserved for requests under way, and this request can take $1.00. "
        "Ask for a shorter answer (max_tokens), or wait: it begins anew in 12h 00m, at 2026-11-22 "
        "00:00 UTC."
    )
    assert error.retry_after is None, "twelve hours are no time to wait for"
    assert (error.status, error.code) == (429, "insufficient_quota")


def test_a_budget_of_tokens_is_told_in_tokens() -> None:
    party = Party("all", "", Limits(tokens_month=1000))
    error = refusal(party, Spent(tokens_month=1000), 0, 2000, TODAY, NOON)
    assert error is not None
    assert "all keys together for this month" in error.sentence
    assert "of 1,000 tokens 1,000 are spent, and this request can take 2,000" in error.sentence
    assert "2026-12-01 00:00 UTC" in error.sentence
    assert "max_tokens" not in error.sentence, "nothing is left for a shorter one either"


@pytest.mark.parametrize(("before", "retry_after"), [(0.5, 1), (59.5, 60), (61.0, None)])
def test_a_budget_that_begins_anew_at_once_is_worth_waiting_for(
    before: float, retry_after: int | None
) -> None:
    party = Party("key", "k", Limits(day=1))
    midnight = (TODAY + 1) * DAY
    error = refusal(party, Spent(day=1), 1, 0, TODAY, midnight - before)
    assert error is not None
    assert error.retry_after == retry_after


@pytest.mark.parametrize(
    ("limits", "spent", "expected"),
    [
        (Limits(), Spent(day=5), None),
        (Limits(tokens_day=5), Spent(), None),
        (Limits(day=10), Spent(day=3, held=4), 3),
        (Limits(day=10, month=12), Spent(day=3, month=11), 1),
        (Limits(day=10), Spent(day=12), 0),
    ],
)
def test_left(limits: Limits, spent: Spent, expected: int | None) -> None:
    assert left(Party("key", "k", limits), spent) == expected


@given(st.dates(datetime.date(1970, 1, 1), datetime.date(9998, 12, 31)))
def test_days_and_months_are_those_of_the_calendar(date: datetime.date) -> None:
    noon = datetime.datetime(date.year, date.month, date.day, 12, tzinfo=datetime.UTC)
    day = day_of(noon.timestamp())
    assert datetime.date(1970, 1, 1) + datetime.timedelta(days=day) == date
    first = next_month(day)
    assert month_of(first) == month_of(day) + 1
    assert month_of(first - 1) == month_of(day)
