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
