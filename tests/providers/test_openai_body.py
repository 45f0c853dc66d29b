from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from server.catalogue.cloud import CloudModel
from server.errors import RequestError
from server.providers.openai import PROTOCOL
from tests.providers.clouds import (
    ALL,
    MODEL,
    ask,
    assistant,
    call,
    image,
    model,
    paper,
    png,
    result,
    tool,
    user,
    without,
)

PLAIN = model(efforts=(), features=ALL - {"thinking"})
"""One that does not think, as most compatible endpoints have them."""
DEEP = model(efforts=())
"""One that thinks and cannot be told how much."""

_KNOWN = {
    *CompletionCreateParamsStreaming.__required_keys__,
    *CompletionCreateParamsStreaming.__optional_keys__,
    "top_k",  # an extension that compatible endpoints have
}
_accepted = TypeAdapter(CompletionCreateParamsStreaming)


def body(of: CloudModel = MODEL, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    written: dict[str, Any] = orjson.loads(PROTOCOL.encode(ask(*messages, **fields), of).body)
    assert written.keys() <= _KNOWN
    _accepted.validate_python(written)
    return written


def test_the_least_that_can_be_asked() -> None:
    made = PROTOCOL.encode(ask(), MODEL)
    assert (made.path, made.headers) == ("/chat/completions", {})
    assert orjson.loads(made.body) == {
        "model": "model-1",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert PROTOCOL.authentication("k") == {"authorization": "Bearer k"}


FORMAT = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}, "strict": True}}
NAMED = {"type": "function", "function": {"name": "weather"}}
SAID: list[tuple[CloudModel, dict[str, Any], dict[str, Any]]] = [
    (MODEL, {"max_tokens": 5}, {"max_completion_tokens": 5}),
    (PLAIN, {"max_completion_tokens": 5}, {"max_tokens": 5}),
    (PLAIN, {"max_tokens": 10**6}, {"max_tokens": 64_000}),
    (MODEL, {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
    (MODEL, {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
    (MODEL, {"enable_thinking": True}, {"reasoning_effort": "medium"}),
    (MODEL, {"enable_thinking": False}, {"reasoning_effort": "none"}),
    (model(efforts=("low", "high")), {"enable_thinking": False}, {"reasoning_effort": "low"}),
    (DEEP, {"enable_thinking": True}, {}),
    (DEEP, {"reasoning_effort": "high"}, {}),
    (PLAIN, {"enable_thinking": False}, {}),
    (MODEL, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
    (MODEL, {"presence_penalty": 1, "frequency_penalty": -1},
     {"presence_penalty": 1, "frequency_penalty": -1}),
    (MODEL, {"top_k": 5}, {"top_k": 5}),
    (MODEL, {"min_p": 0, "repetition_penalty": 1}, {}),
    (without("temperature"), {"temperature": 1}, {}),
    (MODEL, {"seed": 7, "stop": "x", "n": 2}, {"seed": 7, "stop": ["x"], "n": 2}),
    (MODEL, {"logit_bias": {"5": -1}}, {"logit_bias": {"5": -1}}),
    (MODEL, {"logprobs": True}, {"logprobs": True}),
    (MODEL, {"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    (MODEL, {"response_format": {"type": "json_object"}},
     {"response_format": {"type": "json_object"}}),
    (MODEL, {"response_format": FORMAT},
     {"response_format": {"type": "json_schema", "json_schema": {
         "name": "answer", "schema": {"type": "object"}, "strict": True}}}),
    (MODEL, {"tools": [tool(strict=True)]},
     {"tools": [tool(strict=True)], "tool_choice": "auto"}),
    (MODEL, {"tools": [tool(), tool("b")], "tool_choice": "required"},
     {"tools": [tool(), tool("b")], "tool_choice": "required"}),
    (MODEL, {"tools": [tool(), tool("b")], "tool_choice": NAMED},
     {"tools": [tool()], "tool_choice": NAMED}),
    (MODEL, {"tools": [tool()], "tool_choice": "none"},
     {"tools": [tool()], "tool_choice": "none"}),
    (MODEL, {"tools": [tool()], "parallel_tool_calls": False},
     {"tools": [tool()], "tool_choice": "auto", "parallel_tool_calls": False}),
    (without("parallel_tools"), {"tools": [tool()], "parallel_tool_calls": True},
     {"tools": [tool()], "tool_choice": "auto"}),
]  # fmt: skip


@pytest.mark.parametrize(("of", "fields", "said"), SAID)
def test_what_is_asked(of: CloudModel, fields: dict[str, Any], said: dict[str, Any]) -> None:
    assert body(of, **fields) == body(of) | said


REFUSED: list[tuple[CloudModel, dict[str, Any], str]] = [
    (without("temperature"), {"temperature": 0.5}, "temperature"),
    (without("penalties"), {"presence_penalty": 0.5}, "presence_penalty"),
    (without("top_k"), {"top_k": 5}, "top_k"),
    (MODEL, {"min_p": 0.1}, "min_p"),
    (MODEL, {"repetition_penalty": 1.1}, "repetition_penalty"),
    (without("tools"), {"tools": [tool()]}, "tools"),
    (without("tool_choice"), {"tools": [tool()], "tool_choice": "required"}, "tool_choice"),
    (without("schema"), {"response_format": FORMAT}, "response_format"),
    (without("json"), {"response_format": {"type": "json_object"}}, "response_format"),
    (without("thinking"), {"reasoning_effort": "high"}, "reasoning_effort"),
    (without("logprobs"), {"logprobs": True}, "logprobs"),
    (without("n"), {"n": 2}, "n"),
    (without("seed"), {"seed": 2}, "seed"),
    (without("stop"), {"stop": "x"}, "stop"),
    (without("logit_bias"), {"logit_bias": {"5": 1}}, "logit_bias"),
]


@pytest.mark.parametrize(("of", "fields", "param"), REFUSED)
def test_what_the_model_cannot_do_is_refused_by_name(
    of: CloudModel, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        body(of, **fields)
    assert caught.value.param == param
    assert of.id in caught.value.sentence


def test_an_image_where_the_model_does_not_see() -> None:
    with pytest.raises(RequestError, match="cannot see images"):
        body(model(image=False), user([image(png())]))


def test_images_and_their_detail() -> None:
    picture = {"type": "image_url", "image_url": {"url": png(), "detail": "low"}}
    said = user([{"type": "text", "text": "what?"}, picture])
    assert body(MODEL, said)["messages"] == [said]


def test_documents_have_a_file_name() -> None:
    text = {"type": "text", "text": "what?"}
    (said,) = body(MODEL, user([paper(), text, paper(None), paper("Q3")]))["messages"]
    named = [paper(), text, paper("document.pdf"), paper("Q3.pdf")]
    assert said == user(named)


def test_a_conversation_with_tools() -> None:
    said = [
        {"role": "system", "content": "be brief"},
        user("a"),
        assistant(None, tool_calls=[call("x"), call("y", arguments='{"a": 1}')]),
        result("x"),
        result("y", "42"),
        assistant("b"),
        user("c"),
    ]
    assert body(MODEL, *said)["messages"] == said


@pytest.mark.parametrize(("of", "kept"), [(MODEL, False), (PLAIN, False), (DEEP, True)])
def test_thinking_goes_back_where_there_is_a_place_for_it(of: CloudModel, kept: bool) -> None:
    sealed = {"type": "reasoning.encrypted", "format": "openai-responses", "data": "x"}
    said = [
        user("a"),
        assistant("b", reasoning_content="old"),
        user("c"),
        assistant(
            None, tool_calls=[call("x")], reasoning_content="new", reasoning_details=[sealed]
        ),
        result("x"),
    ]
    written = ask(*said)
    _, old, _, new, _ = orjson.loads(PROTOCOL.encode(written, of).body)["messages"]
    assert old == assistant("b")
    thought = {"reasoning_content": "new"} if kept else {}
    assert new == assistant(None, tool_calls=[call("x")], **thought)
