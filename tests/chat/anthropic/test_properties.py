"""Whatever JSON comes in: a request or a RequestError."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.anthropic import parse_count, parse_message
from server.chat.anthropic.fields import COUNT, MESSAGES
from server.chat.json_body import parse_json
from server.chat.request import ChatRequest
from server.errors import RequestError

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "a", "user", "text", "image", "tool_use", "tool_result", "document", "search_result",
         "base64", "content", "auto", "any", "tool", "enabled", "json_schema", "custom", "{}"]
    )
    | st.text(max_size=10)
)  # fmt: skip
keys = st.sampled_from(
    ["type", "role", "content", "text", "source", "data", "media_type", "title", "context", "name",
     "input", "id", "tool_use_id", "thinking", "signature", "is_error", "input_schema", "effort",
     "format", "schema", "budget_tokens", "description", "input_examples", "properties", "url"]
) | st.text(max_size=4)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=14,
)
sources = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "text", "content"])},
    optional={
        "data": st.just("a") | values,
        "media_type": st.just("application/pdf") | values,
        "content": values,
    },
)
blocks = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text", "image", "tool_use", "tool_result", "document", "search_result", "thinking",
             "redacted_thinking"]
        ),
    },
    optional={
        "text": st.just("a") | values,
        "source": sources | values,
        "content": values,
        "id": st.sampled_from("xy"),
        "tool_use_id": st.sampled_from("xy"),
        "name": st.just("f") | values,
        "input": st.just({}) | values,
        "thinking": st.just("hm") | values,
        "signature": st.text(max_size=3) | st.just("holdfast.e30=") | values,
        "data": st.text(max_size=3) | st.just("holdfast.e30=") | values,
        "title": values,
        "context": values,
        "is_error": values,
    },
)  # fmt: skip
turns = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.just("a") | st.lists(blocks, max_size=3) | values,
    }
)
ASKED = {"role": "user", "content": "hi"}
messages = st.lists(turns, max_size=4).map(lambda drawn: [ASKED, *drawn]) | values
core = {"model": "m", "max_tokens": 9}


def check(parse: Any, body: dict[str, Any]) -> None:
    try:
        request = parse(parse_json(orjson.dumps(body)))
    except RequestError as error:
        assert error.status == 400  # noqa: PT017
        assert len(error.sentence) < 2000  # noqa: PT017
        return
    assert isinstance(request, ChatRequest)
    said = [one["role"] for one in request.messages]
    assert said.count("system") <= 1
    assert "user" in said
    for one in request.messages:
        assert type(one["content"]) is str or one["role"] == "user"


@settings(max_examples=200)
@given(said=messages)
def test_any_conversation(said: Any) -> None:
    check(parse_message, {**core, "messages": said})


@settings(max_examples=100)
@given(body=st.dictionaries(st.sampled_from(sorted(MESSAGES)) | keys, values, max_size=4))
def test_any_message(body: dict[str, Any]) -> None:
    check(parse_message, {**core, "messages": [ASKED], **body})


@settings(max_examples=50)
@given(body=st.dictionaries(st.sampled_from(sorted(COUNT)) | keys, values, max_size=4))
def test_any_count(body: dict[str, Any]) -> None:
    check(parse_count, {"model": "m", "messages": [ASKED], **body})
