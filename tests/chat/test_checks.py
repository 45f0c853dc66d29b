"""The checks in OpenAI's words; what each field makes of them stands in test_fields.py."""

from __future__ import annotations

import math
from typing import Any

import pytest

from server.chat.checks import Check, array, boolean, choice, integer, mapping, number, only, string
from server.errors import RequestError


@pytest.mark.parametrize(
    ("check", "value", "sentence"),
    [
        (
            integer(1, 9),
            "5",
            "Invalid type for 'f': expected an integer, but got a string instead.",
        ),
        (integer(1, 9), None, "Invalid type for 'f': expected an integer, but got null instead."),
        (integer(1, 9), 0, "Invalid 'f': expected an integer >= 1, but got 0 instead."),
        (integer(1, 9), 10, "Invalid 'f': expected an integer <= 9, but got 10 instead."),
        (number(0, 2), True, "Invalid type for 'f': expected a number, but got a boolean instead."),
        (number(0, 2), 2.5, "Invalid 'f': expected a number <= 2, but got 2.5 instead."),
        (
            number(0, 2, above_low=True),
            0,
            "Invalid 'f': expected a number > 0, but got 0 instead.",
        ),
        (number(0, 2), math.inf, "Invalid 'f': expected a number <= 2, but got inf instead."),
        (boolean, 1, "Invalid type for 'f': expected a boolean, but got an integer instead."),
        (string(3), [], "Invalid type for 'f': expected a string, but got an array instead."),
        (
            string(3, shortest=1),
            "abcd",
            "Invalid 'f': expected a string of 1 to 3 characters, but got one of 4 instead.",
        ),
        (
            choice("a", "b"),
            "c",
            "Invalid value for 'f': 'c' is not supported. Supported values are: 'a', 'b'.",
        ),
        (mapping, "x", "Invalid type for 'f': expected an object, but got a string instead."),
    ],
)
def test_what_is_said(check: Check[Any], value: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        check(value, "f")
    assert caught.value.sentence == sentence
    assert caught.value.openai_body()["error"] == {
        "message": sentence,
        "type": "invalid_request_error",
        "param": "f",
        "code": None,
    }


def test_not_a_number_passes_no_bound() -> None:
    with pytest.raises(RequestError):
        number(0, 2)(math.nan, "f")


def test_arrays_have_a_length() -> None:
    assert array([1], "f", longest=1) == [1]
    with pytest.raises(RequestError, match="0 to 1 items, but got 2"):
        array([1, 2], "f", longest=1)
    with pytest.raises(RequestError, match="1 to 2 items, but got 0"):
        array([], "f", shortest=1, longest=2)


def test_only_known_keys() -> None:
    only({"a": 1}, "f", frozenset("ab"))
    with pytest.raises(RequestError, match=r"Unknown parameter: 'f\.c': because") as caught:
        only({"a": 1, "c": 1}, "f", frozenset("ab"), "because")
    assert caught.value.param == "f.c"
