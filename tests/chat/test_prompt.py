from __future__ import annotations

from typing import Any

import pytest

from server.chat.prompt import Prompt, parse_prompt
from server.errors import RequestError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("once", "once"),
        (["once"], "once"),
        ([1, 2, 3], (1, 2, 3)),
        ([[1, 2, 3]], (1, 2, 3)),
        ([0], (0,)),
    ],
)
def test_one_prompt_in_every_spelling(given: Any, kept: Prompt) -> None:
    assert parse_prompt(given, "prompt") == kept


@pytest.mark.parametrize(
    ("given", "says", "param"),
    [
        ("", "empty", "prompt"),
        ([], "empty", "prompt"),
        ([""], "empty", "prompt[0]"),
        ([[]], "empty", "prompt[0]"),
        (["a", "b"], "holds 2 prompts", "prompt"),
        ([[1], [2]], "holds 2 prompts", "prompt"),
        ([1, "a"], "expected an integer, but got a string", "prompt[1]"),
        ([True], "expected an integer, but got a boolean", "prompt[0]"),
        ([-1], ">= 0", "prompt[0]"),
        ([2**31], "<= 2147483647", "prompt[0]"),
        ([1.5], "got a decimal", "prompt[0]"),
        ([[["a"]]], "got an array", "prompt[0][0]"),
        ([["a"]], "got a string", "prompt[0][0]"),
        ({"multimodal_data": []}, "got an object", "prompt"),
        ([{"prompt_string": "a"}], "got an object", "prompt[0]"),
        (7, "got an integer", "prompt"),
        ([0] * (2**20 + 1), "more than 1048576 tokens", "prompt"),
    ],
)
def test_what_is_refused(given: Any, says: str, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_prompt(given, "prompt")
    assert says in caught.value.sentence
    assert caught.value.param == param
