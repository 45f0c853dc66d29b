from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion

from server.chat import Usage, finish_reply
from server.chat.request import ChatRequest, CompletionRequest, parse_chat
from server.errors import EngineError
from tests.chat.recorded import NAMES, Recording, recording

WHOLE = [name for name in NAMES if recording(name).json is not None]
PLAIN = parse_chat(
    {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}
)


def asked(made: Recording) -> ChatRequest | CompletionRequest:
    """The recording's request, as one whose answer the engine does not stream."""
    return replace(made.request(), max_tokens=16)


def finish(message: dict[str, Any], request: ChatRequest = PLAIN) -> dict[str, Any]:
    body = orjson.dumps({"choices": [{"index": 0, "message": message}]})
    answer = orjson.loads(finish_reply(body, request).body)
    finished: dict[str, Any] = answer["choices"][0]["message"]
    return finished


@pytest.mark.parametrize("name", WHOLE)
def test_the_openai_client_understands_it(name: str) -> None:
    made = recording(name)
    assert made.json is not None
    reply = finish_reply(made.json, asked(made))
    kind = ChatCompletion if "messages" in made.client else Completion
    answer = kind.model_validate_json(reply.body)
    assert answer.usage is not None
    assert reply.usage == Usage(
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
        orjson.loads(made.json)["usage"]["prompt_tokens_details"]["cached_tokens"],
    )


@pytest.mark.parametrize("name", ["plain", "completion", "top_logprobs"])
def test_where_nothing_is_to_change_the_bytes_are_the_same(name: str) -> None:
    made = recording(name)
    assert made.json is not None
    assert finish_reply(made.json, asked(made)).body is made.json


def test_thinking_has_both_names() -> None:
    made = recording("thinking")
    assert made.json is not None
    answer = orjson.loads(finish_reply(made.json, asked(made)).body)
    message = answer["choices"][0]["message"]
    assert message["reasoning"]
    assert message["reasoning"] == message["reasoning_content"]


def test_a_tool_call_alone_has_no_content() -> None:
    made = recording("tool")
    assert made.json is not None
    message = orjson.loads(finish_reply(made.json, asked(made)).body)["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["type"] == "function"
    assert finish({"content": "so", "tool_calls": [{}]})["content"] == "so"
    assert finish({"content": ""})["content"] == ""


def test_alternatives_that_were_not_asked_for_are_dropped() -> None:
    made = recording("logprobs")
    assert made.json is not None
    answer = orjson.loads(finish_reply(made.json, asked(made)).body)
    entries = answer["choices"][0]["logprobs"]["content"]
    assert entries
    assert all(one["top_logprobs"] == [] for one in entries)


def test_log_probabilities_of_completions_have_the_legacy_shape() -> None:
    made = recording("completion_logprobs")
    assert made.json is not None
    (choice,) = orjson.loads(finish_reply(made.json, asked(made)).body)["choices"]
    shape = choice["logprobs"]
    assert "".join(shape["tokens"]) == choice["text"]
    assert len(shape["tokens"]) == len(shape["token_logprobs"]) == len(shape["text_offset"])
    assert all(len(one) <= 2 for one in shape["top_logprobs"])


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": 1}', b'{"choices": [1]}', b'{"choices": [{}]}'],
)
def test_what_is_no_answer_is_the_engines_fault(body: bytes) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        finish_reply(body, PLAIN)


@pytest.mark.parametrize("usage", [None, 1, {}, {"prompt_tokens": -1, "completion_tokens": 1}])
def test_usage_that_makes_no_sense_is_none(usage: Any) -> None:
    body = orjson.dumps({"choices": [], "usage": usage})
    assert finish_reply(body, PLAIN).usage is None


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "length"])
def test_a_call_ends_as_a_call(reason: str) -> None:
    """vLLM says "stop" of one that was forced."""
    message = {"role": "assistant", "content": "", "tool_calls": [{"id": "x"}]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    request = parse_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}],
                          "max_tokens": 9})  # fmt: skip
    (choice,) = orjson.loads(finish_reply(orjson.dumps(answer), request).body)["choices"]
    assert choice["finish_reason"] == ("tool_calls" if reason == "stop" else reason)
