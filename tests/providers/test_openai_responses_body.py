from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

from server.catalogue.cloud import CloudModel
from server.chat.request import ChatRequest
from server.chat.responses import parse_response
from server.errors import RequestError
from server.providers.openai_responses import PROTOCOL
from tests.providers.clouds import (
    ALL,
    MODEL,
    ask,
    assistant,
    call,
    image,
    model,
    paper,
    pdf_data,
    png,
    result,
    tool,
    user,
    without,
)

PLAIN = model(efforts=(), features=ALL - {"thinking"})
SEALED = {"type": "reasoning.encrypted", "format": "openai-responses", "data": "x", "id": "rs_1"}
_KNOWN = {
    *ResponseCreateParamsStreaming.__required_keys__,
    *ResponseCreateParamsStreaming.__optional_keys__,
}
_accepted = TypeAdapter(ResponseCreateParamsStreaming)


def written(request: ChatRequest, of: CloudModel = MODEL) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(PROTOCOL.encode(request, of).body)
    assert made.keys() <= _KNOWN
    _accepted.validate_python(made)
    return made


def body(of: CloudModel = MODEL, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return written(ask(*messages, **fields), of)


def items(*messages: dict[str, Any]) -> Any:
    return body(MODEL, *messages)["input"]


def test_the_least_that_can_be_asked() -> None:
    made = PROTOCOL.encode(ask(), MODEL)
    assert (made.path, made.headers) == ("/responses", {})
    assert orjson.loads(made.body) == {
        "model": "model-1",
        "input": [{"role": "user", "content": "hi"}],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert "include" not in body(PLAIN)
    assert PROTOCOL.authentication("k") == {"authorization": "Bearer k"}


EMPTY = {"type": "object", "properties": {}}
TOOL = {"type": "function", "name": "weather", "strict": False, "parameters": EMPTY}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
SCHEMA = {"type": "json_schema", "json_schema": {"schema": CITY}}
NAMED = {"type": "json_schema", "json_schema": {"schema": CITY, "name": "city", "strict": True}}
LOGPROBS = ["reasoning.encrypted_content", "message.output_text.logprobs"]
SAID: list[tuple[CloudModel, dict[str, Any], dict[str, Any]]] = [
    (MODEL, {"max_tokens": 50}, {"max_output_tokens": 50}),
    (MODEL, {"max_tokens": 10**6}, {"max_output_tokens": 64_000}),
    (MODEL, {"reasoning_effort": "high"}, {"reasoning": {"effort": "high", "summary": "auto"}}),
    (MODEL, {"reasoning_effort": "minimal"}, {"reasoning": {"effort": "low"}}),
    (MODEL, {"enable_thinking": True}, {"reasoning": {"effort": "medium", "summary": "auto"}}),
    (MODEL, {"enable_thinking": False}, {"reasoning": {"effort": "none"}}),
    (PLAIN, {"enable_thinking": False}, {}),
    (MODEL, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}),
    (MODEL, {"presence_penalty": 0, "top_k": -1, "min_p": 0}, {}),
    (MODEL, {"tools": [tool()]}, {"tools": [TOOL], "tool_choice": "auto"}),
    (MODEL, {"tools": [tool(parameters=CITY, strict=True, description="d")]},
     {"tools": [{**TOOL, "parameters": CITY, "strict": True, "description": "d"}],
      "tool_choice": "auto"}),
    (MODEL, {"tools": [tool(), tool("b")], "tool_choice": "required"},
     {"tools": [TOOL, {**TOOL, "name": "b"}], "tool_choice": "required"}),
    (MODEL, {"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": True},
     {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"},
      "parallel_tool_calls": True}),
    (without("parallel_tools"), {"tools": [tool()], "parallel_tool_calls": False},
     {"tools": [TOOL], "tool_choice": "auto"}),
    (MODEL, {"response_format": {"type": "json_object"}},
     {"text": {"format": {"type": "json_object"}}}),
    (MODEL, {"response_format": SCHEMA},
     {"text": {"format": {"type": "json_schema", "name": "answer", "strict": False,
                          "schema": CITY}}}),
    (MODEL, {"response_format": NAMED},
     {"text": {"format": {"type": "json_schema", "name": "city", "strict": True,
                          "schema": CITY}}}),
    (MODEL, {"logprobs": True, "top_logprobs": 2}, {"top_logprobs": 2, "include": LOGPROBS}),
    (MODEL, {"logprobs": True}, {"top_logprobs": 0, "include": LOGPROBS}),
]  # fmt: skip


@pytest.mark.parametrize(("of", "fields", "said"), SAID)
def test_what_is_asked(of: CloudModel, fields: dict[str, Any], said: dict[str, Any]) -> None:
    assert body(of, **fields) == body(of) | said


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 15}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"seed": 1}, "seed"),
        ({"stop": "x"}, "stop"),
        ({"top_k": 3}, "top_k"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"min_p": 0.5}, "min_p"),
    ],
)
def test_what_the_api_has_no_word_for_is_refused_by_name(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        body(MODEL, **fields)
    assert caught.value.param == param


def test_the_system_prompt_is_apart() -> None:
    asked = body(MODEL, {"role": "system", "content": "be brief"}, user("hi"))
    assert asked["instructions"] == "be brief"
    assert asked["input"] == [{"role": "user", "content": "hi"}]


def test_images() -> None:
    said = user([{"type": "text", "text": "what?"}, image(png())])
    assert items(said) == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "what?"},
                {"type": "input_image", "image_url": png(), "detail": "auto"},
            ],
        }
    ]


def test_documents_have_a_file_name() -> None:
    (said,) = items(user([paper(None), {"type": "text", "text": "what?"}]))
    data = f"data:application/pdf;base64,{pdf_data()}"
    assert said["content"] == [
        {"type": "input_file", "filename": "document.pdf", "file_data": data},
        {"type": "input_text", "text": "what?"},
    ]


def test_how_closely_to_look_at_a_document_is_said() -> None:
    file = {"type": "input_file", "file_data": paper()["file"]["file_data"], "filename": "a.pdf"}
    given = {"role": "user", "content": [{**file, "detail": "low"}, file]}
    asked = parse_response({"model": "m", "input": [given]}, lambda identifier: None).chat
    assert written(asked)["input"] == [given]


def test_a_conversation_with_tools() -> None:
    bare = {"type": "function", "function": {"name": "g", "arguments": '{"a": 1}'}}
    said = items(
        user("a"),
        assistant("well", tool_calls=[call("x"), bare]),
        result("x", "1"),
        result("y", "2"),
    )
    assert said[1:] == [
        {"role": "assistant", "content": "well"},
        {"type": "function_call", "call_id": "x", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "y", "name": "g", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "x", "output": "1"},
        {"type": "function_call_output", "call_id": "y", "output": "2"},
    ]


def test_reasoning_goes_back_to_where_it_stood() -> None:
    others = {"type": "reasoning.text", "format": "anthropic", "text": "t", "signature": "s"}
    details = [
        {**SEALED, "index": 0, "at": 0, "model": "model-1-2026-08-07"},
        {**SEALED, "index": 1, "id": "rs_0", "at": 0, "model": "model-1-mini"},
        {**SEALED, "id": "rs_2", "index": 2, "at": 2},
        {**SEALED, "id": "rs_3", "index": 4, "at": 2},
        others,
        {"type": "reasoning.summary", "format": "openai-responses", "text": "no id", "index": 9},
    ]
    _, *said, _ = items(
        user("a"),
        assistant("hi", tool_calls=[call("x"), call("y")], reasoning_details=details),
        result("x"),
    )
    kinds = [one.get("id") or one.get("call_id") or one.get("content") for one in said]
    assert kinds == ["rs_1", "hi", "rs_2", "x", "rs_3", "y"]
    assert said[0] == {
        "type": "reasoning",
        "id": "rs_1",
        "encrypted_content": "x",
        "summary": [],
    }
