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


def counted(prompt: int, completion: int, total: Any, **details: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
            **details}  # fmt: skip


def thought(tokens: int) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": tokens}}


CACHED = {"prompt_tokens_details": {"cached_tokens": 300}}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        pytest.param(counted(14, 1, 401, **thought(386)), Usage(14, 387, reasoning_tokens=386),
                     id="xAI's"),
        pytest.param(counted(400, 1, 787, **thought(386), **CACHED),
                     Usage(400, 387, 300, reasoning_tokens=386), id="xAI's, with a cache"),
        pytest.param(counted(14, 387, 401, **thought(386)), Usage(14, 387, reasoning_tokens=386),
                     id="OpenAI's: within the completion"),
        pytest.param(counted(20, 198, 623), Usage(20, 603), id="Google's: no details"),
        pytest.param(counted(20, 198, 623, prompt_tokens_details=None), Usage(20, 603),
                     id="no details, and said so"),
        pytest.param(counted(20, 198, 518, **CACHED), Usage(20, 198, 300),
                     id="a cache beside the prompt is not written"),
        pytest.param(counted(20, 198, 518, **thought(100)), Usage(20, 198, reasoning_tokens=100),
                     id="thinking within, and something else beside"),
        pytest.param(counted(20, 198, 100), Usage(20, 198), id="a total that is too small"),
        pytest.param(counted(20, 198, None), Usage(20, 198), id="no total"),
        pytest.param(counted(20, 198, 623.0), Usage(20, 198), id="a total that is no count"),
    ],
)  # fmt: skip
def test_thinking_beside_the_completion_is_part_of_it(given: Any, read: Usage) -> None:
    assert usage_of(given) == read


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
