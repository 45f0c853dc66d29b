"""Which routes an earlier one leaves nothing for."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.naming import fits
from server.catalogue.reach import covers, overlap
from server.catalogue.router import Match


def hours(text: str) -> tuple[datetime.time, datetime.time]:
    start, end = text.split("-")
    return datetime.time.fromisoformat(start), datetime.time.fromisoformat(end)


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ({}, {}, True),
        ({}, {"images": True, "models": ("a",), "min_tokens": 5}, True),
        ({"images": True}, {}, False),
        ({"images": True}, {"images": True}, True),
        ({"images": True}, {"images": False}, False),
        ({"documents": True}, {"documents": True}, True),
        ({"documents": True}, {"documents": False}, False),
        ({"documents": True}, {}, False),
        ({"models": ("a", "b")}, {"models": ("b",)}, True),
        ({"models": ("a",)}, {"models": ("a", "b")}, False),
        ({"models": ("a",)}, {"models": ("a:q4",)}, True),
        ({"models": ("a:q4",)}, {"models": ("a",)}, False),
        ({"models": ("a*",)}, {"models": ("ab*", "a")}, True),
        ({"models": ("ab*",)}, {"models": ("a*",)}, False),
        ({"models": ("*",)}, {}, True),
        ({"keys": ("hr-*",)}, {"keys": ("hr-1",)}, True),
        ({"teams": ("x",)}, {"tasks": ("x",)}, False),
        ({"headers": {"x": "*"}}, {"headers": {"x": "1", "y": "2"}}, True),
        ({"headers": {"x": "1"}}, {"headers": {"x": "*"}}, False),
        ({"headers": {"x": "1"}}, {}, False),
        ({"min_tokens": 5}, {"min_tokens": 6}, True),
        ({"min_tokens": 5}, {"min_tokens": 4}, False),
        ({"min_tokens": 0}, {}, True),
        ({"max_tokens": 5}, {"max_tokens": 5}, True),
        ({"max_tokens": 5}, {"max_tokens": 6}, False),
        ({"max_tokens": 5}, {}, False),
        ({"hours": hours("22:00-06:00")}, {"hours": hours("23:00-01:00")}, True),
        ({"hours": hours("22:00-06:00")}, {"hours": hours("21:00-01:00")}, False),
        ({"hours": hours("08:00-18:00")}, {"hours": hours("17:00-19:00")}, False),
        ({"hours": hours("08:00-18:00")}, {}, False),
    ],
)
def test_conditions_that_are_contained_in_others(
    wide: dict[str, Any], narrow: dict[str, Any], covered: bool
) -> None:
    assert covers(Match(**wide), Match(**narrow)) is covered


NAMES = st.lists(st.sampled_from(["a", "a*", "ab", "b", "*", "a:x"]), max_size=2).map(tuple)
TIMES = st.integers(0, 5).map(lambda step: datetime.time(hour=step * 4))
HOURS = st.none() | st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1])
MATCHES = st.builds(
    Match,
    models=NAMES,
    headers=st.dictionaries(st.sampled_from("hi"), st.sampled_from(["*", "1", "2"]), max_size=2),
    min_tokens=st.none() | st.integers(0, 3),
    max_tokens=st.none() | st.integers(0, 3),
    images=st.sampled_from([None, True, False]),
    hours=HOURS,
)
REQUESTS = st.tuples(
    st.sampled_from(["a", "ab", "abc", "b", "a:x", "c"]),
    st.dictionaries(st.sampled_from("hi"), st.sampled_from("123"), max_size=2),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 23).map(datetime.time),
)


def meets(request: tuple[str, dict[str, str], int, bool, datetime.time], match: Match) -> bool:
    """As the types describe it, written down plainly."""
    model, headers, tokens, images, now = request
    inside = True
    if match.hours:
        start, end = match.hours
        inside = start <= now < end if start < end else now >= start or now < end
    return (
        (not match.models or any(fits(name, model) for name in match.models))
        and all(
            headers.get(h) == v or (v == "*" and h in headers) for h, v in match.headers.items()
        )
        and (match.min_tokens is None or tokens >= match.min_tokens)
        and (match.max_tokens is None or tokens <= match.max_tokens)
        and match.images in (None, images)
        and inside
    )


@given(MATCHES, MATCHES, REQUESTS)
def test_what_is_covered_takes_no_request_that_the_other_leaves(
    wide: Match, narrow: Match, request: tuple[str, dict[str, str], int, bool, datetime.time]
) -> None:
    if covers(wide, narrow) and meets(request, narrow):
        assert meets(request, wide)


@given(MATCHES)
def test_conditions_cover_themselves(match: Match) -> None:
    assert covers(match, match)
    assert covers(Match(), match)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ({}, {}, True),
        ({"teams": ("hr",)}, {"models": ("frontier",)}, True),
        ({"teams": ("hr",)}, {"teams": ("lab",)}, False),
        ({"teams": ("hr",)}, {"teams": ("lab", "hr")}, True),
        ({"models": ("qwen*",)}, {"models": ("qwen3.5-9b",)}, True),
        ({"models": ("qwen*",)}, {"models": ("*-9b",)}, True),
        ({"models": ("qwen*",)}, {"models": ("auto",)}, False),
        ({"tasks": ("coding",)}, {"tasks": ("chat",)}, False),
        ({"images": True}, {"images": False}, False),
        ({"images": True}, {"documents": True}, True),
        ({"documents": True}, {"documents": False}, False),
        ({"headers": {"x-a": "1"}}, {"headers": {"x-a": "2"}}, False),
        ({"headers": {"x-a": "1"}}, {"headers": {"x-a": "*"}}, True),
        ({"headers": {"x-a": "1"}}, {"headers": {"x-b": "2"}}, True),
        ({"max_tokens": 100}, {"min_tokens": 101}, False),
        ({"max_tokens": 100}, {"min_tokens": 100}, True),
        ({"hours": hours("08:00-18:00")}, {"hours": hours("18:00-08:00")}, False),
        ({"hours": hours("08:00-18:00")}, {"hours": hours("17:59-20:00")}, True),
        ({"hours": hours("22:00-02:00")}, {"hours": hours("01:00-03:00")}, True),
        ({"hours": hours("08:00-18:00")}, {}, True),
    ],
)
def test_whether_a_request_may_meet_both(
    one: dict[str, Any], other: dict[str, Any], both: bool
) -> None:
    assert overlap(Match(**one), Match(**other)) == both
    assert overlap(Match(**other), Match(**one)) == both
