from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion
from recorded import NAMES, recording

from server.chat import StreamFold, finish_reply
from server.chat.request import ChatRequest, CompletionRequest
from server.chat.sse import sse_event
from server.errors import EngineError, RequestError


def fold(request: ChatRequest | CompletionRequest, *chunks: bytes) -> StreamFold:
    folded = StreamFold(request)
    for chunk in chunks:
        folded.feed(chunk)
    return folded


def comparable(body: bytes) -> Any:
    """An answer without what differs between two generations of the same text."""
    answer = orjson.loads(body)
    for key in ("id", "created", "timings"):
        answer.pop(key, None)
    answer["usage"].pop("prompt_tokens_details")
    for choice in answer["choices"]:
        if choice.get("logprobs") is None:
            choice.pop("logprobs", None)
        for call in choice.get("message", {}).get("tool_calls", []):
            call["id"] = ""
    return answer


@pytest.mark.parametrize("name", [name for name in NAMES if recording(name).json is not None])
def test_a_stream_amounts_to_the_answer_that_the_engine_gives_whole(name: str) -> None:
    made = recording(name)
    assert made.json is not None
    request = made.request()
    whole = finish_reply(made.json, request)
    reply = fold(request, made.sse).reply()
    assert comparable(reply.body) == comparable(whole.body)
    assert reply.usage is not None
    assert whole.usage is not None
    assert reply.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("name", NAMES)
def test_the_network_may_cut_it_anywhere(name: str) -> None:
    made = recording(name)
    request = made.request()
    whole = fold(request, made.sse).reply()
    for at in range(1, len(made.sse), 7):
        assert fold(request, made.sse[:at], made.sse[at:]).reply() == whole


@pytest.mark.parametrize("name", ["two", "completion_two"])
def test_several_choices(name: str) -> None:
    made = recording(name)
    reply = fold(made.request(), made.sse).reply()
    kind = ChatCompletion if "messages" in made.client else Completion
    answer = kind.model_validate_json(reply.body)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.finish_reason for choice in answer.choices)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2 * made.client["max_tokens"]
    assert answer.object == ("chat.completion" if "messages" in made.client else "text_completion")


def test_a_stream_that_ends_early_is_an_error() -> None:
    made = recording("two")
    folded = fold(made.request(), made.sse.removesuffix(b"data: [DONE]\n\n"))
    assert not folded.done
    with pytest.raises(EngineError, match="in the middle of its answer"):
        folded.reply()


def test_the_engines_error_is_raised() -> None:
    made = recording("two")
    folded = fold(made.request(), sse_event({"error": {"code": 400, "message": "x"}}) + made.sse)
    with pytest.raises(RequestError):
        folded.reply()


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        b"{}",
        b'{"object":"x","choices":1}',
        b'{"object":"x","choices":[{}]}',
        b'{"object":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":5}]}}]}',
        b'{"error":"x"}',
        b'{"object":1,"choices":[]}',
    ],
)
def test_what_cannot_be_read_is_the_engines_fault(data: bytes) -> None:
    folded = StreamFold(recording("two").request())
    with pytest.raises(EngineError, match="cannot be read"):
        folded.feed(b"data: " + data + b"\n\n")


def test_a_stream_of_nothing_is_no_answer() -> None:
    with pytest.raises(EngineError, match="in the middle of its answer"):
        fold(recording("two").request()).reply()
