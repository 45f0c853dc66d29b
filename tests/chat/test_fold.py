from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion

from server.chat import finish_reply
from server.chat.fold import fold_stream
from server.chat.sse import sse_event
from server.errors import EngineError, RequestError
from tests.chat.recorded import NAMES, recording
from tests.effort import cpu_seconds


def comparable(answer: dict[str, Any]) -> Any:
    """An answer without what differs between two generations of the same text."""
    for key in ("id", "created", "timings"):
        answer.pop(key, None)
    answer["usage"].pop("prompt_tokens_details")
    for choice in answer["choices"]:
        choice.setdefault("logprobs", None)
        for call in choice.get("message", {}).get("tool_calls", []):
            call["id"] = ""
    return answer


@pytest.mark.parametrize("name", [name for name in NAMES if recording(name).json is not None])
def test_a_stream_amounts_to_the_answer_that_the_engine_gives_whole(name: str) -> None:
    made = recording(name)
    assert made.json is not None
    assert comparable(fold_stream(made.sse)) == comparable(orjson.loads(made.json))


@pytest.mark.parametrize("name", ["two", "completion_two"])
def test_several_choices(name: str) -> None:
    made = recording(name)
    reply = finish_reply(made.sse, made.request())
    kind = ChatCompletion if "messages" in made.client else Completion
    answer = kind.model_validate_json(reply.body)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.finish_reason for choice in answer.choices)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2 * made.client["max_tokens"]
    assert answer.object == ("chat.completion" if "messages" in made.client else "text_completion")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == answer.usage.completion_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_ends_early_is_an_error(name: str) -> None:
    made = recording(name)
    for at in range(0, len(made.sse), 97):
        with pytest.raises((EngineError, ValueError)):
            fold_stream(made.sse[:at])
    with pytest.raises(EngineError, match="in the middle of its answer"):
        fold_stream(made.sse.removesuffix(b"data: [DONE]\n\n"))


def test_the_engines_error_is_raised() -> None:
    made = recording("two")
    failing = sse_event({"error": {"code": 400, "message": "x"}}) + made.sse
    with pytest.raises(RequestError):
        finish_reply(failing, made.request())


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
    request = recording("two").request()
    with pytest.raises(EngineError, match="cannot be read"):
        finish_reply(b"data: " + data + b"\n\n", request)


def test_vllms_log_probabilities_of_a_completion() -> None:
    parts = [
        {"index": 0, "text": text, "finish_reason": None,
         "logprobs": {"tokens": [text], "text_offset": [offset], "top_logprobs": [{text: -1.0}]}}
        for offset, text in ((0, "Hi"), (2, " x"))
    ]  # fmt: skip
    chunks = [sse_event({"object": "text_completion", "choices": [part]}) for part in parts]
    (choice,) = fold_stream(b"".join(chunks) + b"data: [DONE]\n\n")["choices"]
    assert choice["text"] == "Hi x"
    assert choice["logprobs"] == {
        "tokens": ["Hi", " x"],
        "text_offset": [0, 2],
        "top_logprobs": [{"Hi": -1.0}, {" x": -1.0}],
    }


def of(**part: Any) -> dict[str, Any]:
    return {"object": "x.chunk", "choices": [{"index": 0, **part}]}


def call(**function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": function}]}


@pytest.mark.parametrize(
    ("part", "pieces"),
    [
        ({"text": "a" * 8192}, 4000),
        ({"delta": {"content": "a" * 8192}}, 4000),
        ({"delta": {"reasoning": "a" * 8192}}, 4000),
        ({"delta": call(name="", arguments="a" * 8192)}, 4000),
        ({"logprobs": {"tokens": ["a"] * 8}}, 20_000),
    ],
    ids=["text", "content", "reasoning", "arguments", "logprobs"],
)
def test_many_pieces_take_no_longer_than_few(part: dict[str, Any], pieces: int) -> None:
    stream = sse_event(of(**part)) * pieces + b"data: [DONE]\n\n"
    assert cpu_seconds(lambda: fold_stream(stream)) < 0.5, "3 s, if each is added to all before"
