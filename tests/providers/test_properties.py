"""Whatever a client says: every protocol can be asked it or refuses it by name, and whatever a
provider answers: events or an error of ours."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.catalogue.cloud import CloudModel, Kind
from server.chat.anthropic import parse_count, parse_message
from server.chat.request import ChatRequest, parse_chat
from server.errors import HoldfastError, RequestError
from server.providers import PROTOCOLS
from tests.providers.clouds import MODEL, ask, model, paper, png

MODELS = [
    MODEL,
    model(efforts=("minimal", "high")),
    model(efforts=("none",), thinking_budget=(1024, 32_000)),
    model(efforts=(), features=frozenset(), image=False),
]

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "a", "user", "assistant", "system", "text", "tool", "auto", "any", png()]
    )
    | st.text(max_size=12)
)
keys = st.sampled_from(
    ["type", "role", "content", "text", "name", "id", "input", "tool_use_id", "source", "data",
     "media_type", "signature", "thinking", "properties", "items", "anyOf", "$ref", "enum",
     "is_error", "budget_tokens", "effort", "format", "schema", "input_schema", "title"]
) | st.text(max_size=4)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from(
    ["text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document", "x"]
)
blocks = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    kinds,
    st.fixed_dictionaries(
        {},
        optional={
            "text": values,
            "thinking": values,
            "signature": values,
            "data": values,
            "id": st.sampled_from(["c1", "c2", ""]),
            "tool_use_id": st.sampled_from(["c1", "c2"]),
            "name": st.sampled_from(["f", "g h"]),
            "input": st.dictionaries(keys, leaves, max_size=2) | leaves,
            "content": values,
            "source": values,
            "is_error": st.booleans(),
        },
    ),
)
turns = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"])},
        optional={"content": st.text(max_size=5) | st.lists(blocks | values, max_size=4)},
    )
    | values,
    max_size=5,
)
tools = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["f", "g", "1"])},
        optional={
            "input_schema": st.dictionaries(keys, values, max_size=3),
            "description": values,
            "strict": st.booleans() | leaves,
            "type": st.sampled_from(["custom", "bash_20250124", None]),
        },
    )
    | values,
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": turns},
    optional={
        "max_tokens": st.integers(0, 9999) | leaves,
        "system": st.lists(blocks, max_size=2) | values,
        "tools": tools,
        "tool_choice": st.fixed_dictionaries(
            {"type": st.sampled_from(["auto", "any", "tool", "none"])},
            optional={"name": st.sampled_from(["f", "z"]), "disable_parallel_tool_use": leaves},
        )
        | values,
        "thinking": st.fixed_dictionaries(
            {"type": st.sampled_from(["adaptive", "enabled", "disabled", "between_tools"])},
            optional={"budget_tokens": st.integers(0, 99_999)},
        )
        | values,
        "output_config": st.fixed_dictionaries(
            {}, optional={"effort": st.sampled_from(["low", "max", "x"]), "format": values}
        )
        | values,
        "stop_sequences": st.lists(st.text(max_size=3), max_size=7) | values,
        "temperature": st.floats(0, 2) | leaves,
        "top_k": leaves,
        "stream": st.booleans(),
        "metadata": values,
    },
)


def requested(parse: Any, body: Any) -> ChatRequest | None:
    try:
        request: ChatRequest = parse(body)
    except RequestError as error:
        _named(error)
        return None
    return request


def _named(error: RequestError) -> None:
    assert error.param


def check_asked(request: ChatRequest) -> None:
    for protocol in PROTOCOLS.values():
        for one in MODELS:
            _check_call(protocol, request, one)


def _check_call(protocol: Any, request: ChatRequest, of: CloudModel) -> None:
    try:
        call = protocol.encode(request, of)
    except RequestError as error:
        return _named(error)
    assert call.path.startswith("/")
    assert isinstance(orjson.loads(call.body), dict)
    assert protocol.encode(request, of) == call
    return None


lenient = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@lenient
@given(body=bodies)
def test_any_body_of_anthropics_is_a_request_or_refused(body: dict[str, Any]) -> None:
    requested(parse_count, {key: body[key] for key in ("model", "messages")})
    request = requested(parse_message, body)
    if request is not None:
        check_asked(request)


conversations = st.lists(
    st.sampled_from(
        [
            {"role": "user", "content": "a"},
            {"role": "user", "content": ""},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": png()}}]},
            {"role": "user", "content": [paper(), paper(None)]},
            {"role": "assistant", "content": ""},
            {"role": "assistant", "content": "b", "reasoning_content": "c"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c.1", "function": {"name": "f", "arguments": '{"a":1}'}}],
                "reasoning_details": [
                    {"type": "reasoning.text", "format": "anthropic", "signature": "s"},
                    {"type": "reasoning.encrypted", "format": "gemini", "data": "d", "id": "c.1"},
                ],
            },
            {"role": "tool", "tool_call_id": "c.1", "content": "d"},
            {"role": "tool", "tool_call_id": "other", "content": ""},
            {"role": "system", "content": "e"},
        ]
    ),
    max_size=8,
)
options = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "max"]),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.1, 1),
        "top_k": st.integers(-1, 50),
        "presence_penalty": st.floats(-2, 2),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "stop": st.lists(st.text(min_size=1, max_size=3), max_size=7),
        "max_tokens": st.integers(1, 10**6),
        "n": st.integers(1, 3),
        "tools": st.just([{"type": "function", "function": {"name": "f", "strict": True}}]),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.just({"type": "json_object"}),
    },
)


@lenient
@given(messages=conversations, fields=options, budget=st.none() | st.integers(0, 10**6))
def test_any_request_can_be_asked_or_is_refused(
    messages: list[Any], fields: dict[str, Any], budget: int | None
) -> None:
    request = requested(parse_chat, {"model": "m", "messages": messages, **fields})
    if request is not None:
        check_asked(dataclasses.replace(request, thinking_budget=budget))


answers = st.dictionaries(
    st.sampled_from(
        ["type", "index", "delta", "content_block", "message", "usage", "error", "id", "model",
         "candidates", "content", "parts", "text", "functionCall", "promptFeedback", "choices",
         "usageMetadata", "finishReason", "response", "output", "item", "name", "input",
         "status", "code", "details", "reason"]
    ),
    values | st.sampled_from(["message_start", "content_block_start", "content_block_delta",
                              "message_delta", "error", "response.completed"]),
    max_size=5,
)  # fmt: skip


@pytest.mark.parametrize("kind", PROTOCOLS)
@lenient
@given(sent=st.lists(answers | values, max_size=3), raw=st.binary(max_size=20))
def test_any_answer_is_read_or_is_an_error_of_ours(kind: Kind, sent: list[Any], raw: bytes) -> None:
    protocol, request = PROTOCOLS[kind], ask()
    stream = b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in sent) + b"data: " + raw
    with contextlib.suppress(HoldfastError):
        assert isinstance(protocol.decoder(request).feed(stream + b"\n\n"), list)
    for whole in (orjson.dumps(sent[0] if sent else None), raw):
        with contextlib.suppress(HoldfastError):
            assert isinstance(protocol.decode(whole, request), list)
    for status in (400, 404, 429, 500, 599):
        body = orjson.dumps({"error": sent[0] if sent else None})
        headers = {"retry-after": "x", "date": "y"}
        assert isinstance(protocol.failure(status, headers, body), HoldfastError)
        assert isinstance(protocol.failure(status, {}, raw), HoldfastError)
