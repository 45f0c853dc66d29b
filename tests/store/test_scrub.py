"""What a scrub reads next, and how far a budget reaches."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ConfigError
from server.store.scrub import Budget, Due, parse_budget, schedule

_DAY = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def _due(key: str, size: int, day: int | None) -> Due:
    verified = None if day is None else _DAY + datetime.timedelta(days=day)
    return Due(key, size, verified)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", Budget(seconds=7200)),
        (" 30m ", Budget(seconds=1800)),
        ("1.5 d", Budget(seconds=129_600)),
        ("45s", Budget(seconds=45)),
        ("200G", Budget(bytes=200 * 1024**3)),
        ("200g", Budget(bytes=200 * 1024**3)),
        ("500MiB", Budget(bytes=500 * 1024**2)),
        ("500mb", Budget(bytes=500_000_000)),
        ("1.5TB", Budget(bytes=1_500_000_000_000)),
    ],
)
def test_budgets(text: str, expected: Budget) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "2", "2M", "2 M", "h", "two hours", "0h", "0G", "-1h", "2x"])
def test_what_is_no_budget_says_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match="30m or 2h, or a size such as 500MiB or 200G") as caught:
        parse_budget(text)
    assert repr(text) in str(caught.value)


OLD = _due("old", 10, 1)
NEW = _due("new", 30, 9)
NEVER = _due("never", 20, None)
NEVER_LARGE = _due("never-large", 40, None)
ALL = (NEW, OLD, NEVER, NEVER_LARGE)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(), (NEVER_LARGE, NEVER, OLD, NEW)),
        (Budget(seconds=1), (NEVER_LARGE, NEVER, OLD, NEW)),
        (Budget(bytes=1), (NEVER_LARGE,)),
        (Budget(bytes=59), (NEVER_LARGE,)),
        (Budget(bytes=60), (NEVER_LARGE, NEVER)),
        (Budget(bytes=70), (NEVER_LARGE, NEVER, OLD)),
        (Budget(bytes=99), (NEVER_LARGE, NEVER, OLD)),
        (Budget(bytes=100), (NEVER_LARGE, NEVER, OLD, NEW)),
    ],
)
def test_the_order(budget: Budget, expected: tuple[Due, ...]) -> None:
    assert schedule(ALL, budget) == expected


def test_the_largest_of_a_day_come_first_and_what_was_read_today_last() -> None:
    hour = datetime.timedelta(hours=1)
    small, large = Due("small", 1, _DAY), Due("large", 2, _DAY + hour)
    read_today = Due("today", 3, _DAY + 24 * hour)
    assert schedule((read_today, small, large), Budget()) == (large, small, read_today)
    assert schedule((large, small), Budget(seconds=1)) == (small, large)


def test_nothing_due() -> None:
    assert schedule((), Budget(bytes=1)) == ()


_FILES = st.lists(
    st.builds(
        _due,
        st.uuids().map(str),
        st.integers(0, 100),
        st.none() | st.integers(0, 30),
    ),
    unique_by=lambda due: due.key,
    min_size=1,
    max_size=20,
)


@given(_FILES, st.integers(1, 500))
def test_every_file_has_its_turn(files: list[Due], limit: int) -> None:
    """Runs one after the other, each marking what it read, come round to every file."""
    waiting = {due.key: due for due in files}
    seen: set[str] = set()
    for day in range(len(files)):
        chosen = schedule(waiting.values(), Budget(bytes=limit))
        assert chosen
        assert len(chosen) == 1 or sum(due.bytes for due in chosen) <= limit
        seen |= {due.key for due in chosen}
        for due in chosen:
            waiting[due.key] = _due(due.key, due.bytes, 100 + day)
    assert seen == set(waiting)
