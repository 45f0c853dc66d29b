"""What an engine is asked for a count, and what is read of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from server.chat.count import count_question, read_count

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning_content": "c"},
    ],
    "tools": [{"type": "function"}],
    "chat_template_kwargs": {"enable_thinking": False},
    "temperature": 0.5,
}


def test_llama_server_gets_all_that_it_would_be_asked() -> None:
    path, question = count_question(CHAT, "llama-server")
    assert path == "/v1/chat/completions/input_tokens"
    assert question == CHAT


def test_vllm_gets_what_makes_the_prompt_and_thinking_by_the_name_that_it_reads() -> None:
    path, question = count_question(CHAT, "vllm")
    assert path == "/tokenize"
    assert question == {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "reasoning": "c"},
        ],
        "tools": CHAT["tools"],
        "chat_template_kwargs": CHAT["chat_template_kwargs"],
    }
    assert "reasoning_content" in CHAT["messages"][1]


def test_a_bare_prompt() -> None:
    body = {"prompt": "Hello", "max_tokens": 3}
    content = {"content": "Hello", "add_special": True, "parse_special": True}
    assert count_question(body, "llama-server") == ("/tokenize", content)
    assert count_question(body, "vllm") == ("/tokenize", {"prompt": "Hello"})


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b'{"input_tokens":19,"object":"response.input_tokens"}', 19),
        (b'{"count":3,"max_model_len":2048,"tokens":[1,2,3],"token_strs":null}', 3),
        (b'{"tokens":[915,671]}', 2),
        (b'{"tokens": [7]}', 1),
        (b'{"tokens":[]}', 0),
        (b'{"error":{"code":400,"message":"\\"count\\": 5"}}', None),
        (b"", None),
        (b"<html>", None),
    ],
)
def test_answers(answer: bytes, count: int | None) -> None:
    assert read_count(answer) == count
