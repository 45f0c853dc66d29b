from __future__ import annotations

from typing import Any

from server.chat.logprobs import chosen_only, make_legacy


def entry(token: str, *others: str) -> dict[str, Any]:
    top = [{"id": i, "token": one, "logprob": -1.0 - i} for i, one in enumerate((token, *others))]
    return {"id": 0, "token": token, "bytes": [], "logprob": -1.0, "top_logprobs": top}


def test_the_legacy_shape() -> None:
    choice = {"text": "Hi é", "logprobs": {"content": [entry("Hi", "Yo"), entry(" é", "x", "y")]}}
    assert make_legacy(choice, 2, 10) == 14
    assert choice["logprobs"] == {
        "tokens": ["Hi", " é"],
        "token_logprobs": [-1.0, -1.0],
        "top_logprobs": [{"Hi": -1.0, "Yo": -2.0}, {" é": -1.0, "x": -2.0}],
        "text_offset": [10, 12],
    }


def test_without_alternatives() -> None:
    choice: dict[str, Any] = {"text": "a", "logprobs": {"content": [entry("a", "b")]}}
    make_legacy(choice, 0, 0)
    assert choice["logprobs"]["top_logprobs"] is None
    assert choice["logprobs"]["tokens"] == ["a"]


def test_text_without_log_probabilities_still_counts() -> None:
    choice: dict[str, Any] = {"text": "abc", "logprobs": None}
    assert make_legacy(choice, 1, 5) == 8
    assert choice["logprobs"] is None


def test_chosen_only() -> None:
    choice: dict[str, Any] = {"logprobs": {"content": [entry("a"), entry("b")], "refusal": None}}
    chosen_only(choice)
    assert [one["top_logprobs"] for one in choice["logprobs"]["content"]] == [[], []]
    for nothing in ({}, {"logprobs": None}, {"logprobs": {"content": None}}):
        chosen_only(nothing)


def test_vllms_are_of_that_shape_already() -> None:
    given = {
        "text_offset": [3, 5],
        "token_logprobs": [-1.0, -2.0],
        "tokens": ["Hi", " x"],
        "top_logprobs": [{"Hi": -1.0}, {" x": -2.0}],
    }
    choice: dict[str, Any] = {"text": "Hi x", "logprobs": dict(given)}
    assert make_legacy(choice, 1, 3) == 7
    assert choice["logprobs"] == given
    make_legacy(choice, 0, 3)
    assert choice["logprobs"] == given | {"top_logprobs": None}
