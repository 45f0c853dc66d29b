"""Whatever JSON comes in: a request or a RequestError."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.json_body import parse_json
from server.chat.request import ChatRequest
from server.chat.responses import parse_response
from server.chat.responses.fields import RESPONSES
from server.errors import RequestError

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "a", "user", "message", "function_call", "function_call_output", "reasoning", "auto",
         "input_text", "output_text", "input_image", "function", "json_schema", "refusal", "{}"]
    )
    | st.text(max_size=10)
)  # fmt: skip
keys = st.sampled_from(
    ["type", "role", "content", "text", "name", "arguments", "call_id", "output", "summary",
     "encrypted_content", "image_url", "format", "schema", "parameters", "effort", "mode", "tools",
     "id", "detail", "strict", "description", "file_id", "refusal", "properties", "pattern"]
) | st.text(max_size=4)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=14,
)
KINDS = [
    "message", "function_call", "function_call_output", "custom_tool_call", "tool_search_call",
    "custom_tool_call_output", "tool_search_output", "additional_tools", "reasoning",
]  # fmt: skip
roles = st.sampled_from(["user", "assistant", "system", "developer"])
fields: dict[str, st.SearchStrategy[Any]] = {
    "role": roles,
    "content": values,
    "call_id": st.sampled_from("xy"),
    "name": st.just("f"),
    "arguments": st.just("{}") | values,
    "output": st.text(max_size=3) | values,
    "summary": values,
    "input": values,
    "tools": values,
    "namespace": values,
    "encrypted_content": st.text(max_size=3) | st.just("holdfast.e30=") | values,
    "id": st.just("i") | values,
}
items = st.fixed_dictionaries({"type": st.sampled_from(KINDS)}, optional=fields)
given_input = st.just("hi") | st.lists(items, max_size=6) | values
CALLED = [
    {"role": "user", "content": "hi"},
    {"type": "tool_search_call", "call_id": "x", "arguments": "{}"},
]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(said=st.fixed_dictionaries(fields))
def test_any_item(kind: str, said: dict[str, Any]) -> None:
    for before in (CALLED, CALLED[:1]):
        check({"model": "m", "input": [*before, {"type": kind, **said}]}, None)


@settings(max_examples=80)
@given(
    body=st.dictionaries(st.sampled_from(sorted(RESPONSES)) | keys, values, max_size=5),
    said=given_input,
    kept=st.none() | st.lists(items, max_size=3),
)
def test_any_request(body: dict[str, Any], said: Any, kept: Any) -> None:
    check({"model": "m", "input": said, **body}, kept)


def check(body: dict[str, Any], kept: Any) -> None:
    try:
        request = parse_response(parse_json(orjson.dumps(body)), lambda identifier: kept)
    except RequestError as error:
        assert error.status == 400  # noqa: PT017
        assert len(error.sentence) < 2000  # noqa: PT017
        return
    assert isinstance(request.chat, ChatRequest)
    assert request.chat.messages
    orjson.dumps([request.items, dict(request.echo)])
    turns = [one["role"] for one in request.chat.messages]
    assert turns.count("system") <= 1
    assert "user" in turns
    for one in request.chat.messages:
        assert type(one["content"]) is str or one["role"] == "user"
