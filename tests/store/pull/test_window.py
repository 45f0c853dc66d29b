from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.pull.window import Window, parse_window

HOUR = 3600.0


def at(hour: int, minute: int = 0) -> datetime.datetime:
    return datetime.datetime(2026, 11, 21, hour, minute)


@pytest.mark.parametrize(
    ("window", "now", "opens", "closes"),
    [
        ("01:00-06:00", at(0), HOUR, 0),
        ("01:00-06:00", at(1), 0, 5 * HOUR),
        ("01:00-06:00", at(5, 30), 0, HOUR / 2),
        ("01:00-06:00", at(6), 19 * HOUR, 0),
        ("22:00-06:00", at(23), 0, 7 * HOUR),
        ("22:00-06:00", at(5), 0, HOUR),
        ("22:00-06:00", at(12), 10 * HOUR, 0),
        ("0:00-23:59", at(12), 0, 12 * HOUR - 60),
    ],
)
def test_when_it_opens_and_closes(
    window: str, now: datetime.datetime, opens: float, closes: float
) -> None:
    parsed = parse_window(window)
    assert (parsed.opens_in(now), parsed.closes_in(now)) == (opens, closes)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 86399))
def test_it_is_open_or_opens_and_then_closes(start: int, end: int, now: int) -> None:
    if start == end:
        return
    window = Window(start * 60, end * 60)
    moment = at(0) + datetime.timedelta(seconds=now)
    assert (window.opens_in(moment) == 0) == (window.closes_in(moment) > 0)
    opened = moment + datetime.timedelta(seconds=window.opens_in(moment))
    closed = opened + datetime.timedelta(seconds=window.closes_in(opened))
    assert window.closes_in(opened) > 0
    assert window.opens_in(closed) > 0
    assert parse_window(str(window)) == window


@pytest.mark.parametrize("text", ["", "1-6", "24:00-06:00", "01:60-02:00", "01:00-01:00", "x"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_window(text)
