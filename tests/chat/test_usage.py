from __future__ import annotations

from typing import Any

import pytest

from server.chat.usage import Usage, usage_of

COUNTED = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def test_it_is_read_and_written() -> None:
    given = {**COUNTED, "prompt_tokens_details": {"cached_tokens": 3}}
    usage = usage_of(given)
    assert usage == Usage(5, 7, 3)
    assert usage.as_json() == given


@pytest.mark.parametrize("details", [None, 1, {}, {"cached_tokens": None}, {"cached_tokens": -1}])
def test_the_cached_part_may_be_absent(details: Any) -> None:
    assert usage_of({**COUNTED, "prompt_tokens_details": details}) == Usage(5, 7, 0)
    assert usage_of(COUNTED) == Usage(5, 7, 0)


@pytest.mark.parametrize(
    "given",
    [
        None,
        1,
        [],
        {},
        {**COUNTED, "prompt_tokens": None},
        {**COUNTED, "prompt_tokens": -1},
        {**COUNTED, "completion_tokens": 1.5},
        {**COUNTED, "completion_tokens": True},
    ],
)
def test_what_is_no_count_is_none(given: Any) -> None:
    assert usage_of(given) is None


def test_choices_share_their_prompt() -> None:
    assert Usage(5, 7, 3).with_choice(Usage(5, 4, 5)) == Usage(5, 11, 3)


def test_what_only_some_providers_count_is_said_where_there_is_any() -> None:
    told = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    usage = usage_of(told)
    assert usage == Usage(10, 7, 4, cache_write_tokens=3, reasoning_tokens=5)
    assert usage.as_json() == told
    assert usage.with_choice(usage) == Usage(10, 14, 4, cache_write_tokens=3, reasoning_tokens=10)
    assert usage_of({**told, "completion_tokens_details": {"reasoning_tokens": -1}}) == Usage(
        10, 7, 4, cache_write_tokens=3
    )
