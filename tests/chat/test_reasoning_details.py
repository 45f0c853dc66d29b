from __future__ import annotations

from typing import Any

import pytest

from server.chat.reasoning_details import details_of, parse_details
from server.errors import RequestError

SIGNED = {"type": "reasoning.text", "format": "anthropic", "text": "hm", "signature": "abc"}
SEALED = {"type": "reasoning.encrypted", "format": "openai-responses", "data": "x", "id": "rs_1"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], []),
        ([SIGNED, SEALED], [{**SIGNED, "index": 0}, {**SEALED, "index": 1}]),
        ([{**SIGNED, "index": 7}], [{**SIGNED, "index": 7}]),
        ([{**SIGNED, "more": 1, "text": 2, "index": "x"}],
         [{"type": "reasoning.text", "format": "anthropic", "signature": "abc", "index": 0}]),
        ([{**SIGNED, "format": "xai-responses-v1"}, {**SIGNED, "type": "x"}, {}], []),
        ([{**SIGNED, "format": [1], "type": {}}], []),
    ],
)  # fmt: skip
def test_what_is_kept(given: Any, kept: Any) -> None:
    assert parse_details(given, "d") == kept


@pytest.mark.parametrize(
    ("given", "param"),
    [("x", "d"), ({}, "d"), ([1], "d[0]"), ([{}, []], "d[1]"), ([{}] * 1025, "d")],
)
def test_what_is_no_array_of_objects(given: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_details(given, "d")
    assert caught.value.param == param


def test_each_provider_gets_its_own() -> None:
    message = {"role": "assistant", "content": "", "reasoning_details": [SIGNED, SEALED]}
    assert details_of(message, "anthropic") == [SIGNED]
    assert details_of(message, "gemini") == []
    assert details_of({"role": "user", "content": "hi"}, "gemini") == []


@pytest.mark.parametrize(
    ("said", "model", "its"),
    [
        ("gpt-5", "gpt-5", True),
        ("gpt-5-2026-08-07", "gpt-5", True),
        ("claude-opus-5-20251001", "claude-opus-5", True),
        ("gemini-3-pro-preview-09-2025", "gemini-3-pro", True),
        ("gemini-3-pro-001", "gemini-3-pro", True),
        ("gpt-5", "openai/gpt-5", True),
        ("openai/gpt-5-2026-08-07", "gpt-5", True),
        ("gpt-5-mini", "gpt-5", False),
        ("gpt-5.2", "gpt-5", False),
        ("gpt-5", "gpt-5-mini", False),
        ("gpt-5-2026-8-7", "gpt-5", False),
        (None, "gpt-5", True),
    ],
)
def test_a_model_gets_back_what_is_its_own(said: str | None, model: str, its: bool) -> None:
    detail = SEALED if said is None else {**SEALED, "model": said}
    message = {"role": "assistant", "content": "", "reasoning_details": [detail]}
    assert bool(details_of(message, "openai-responses", model)) is its
