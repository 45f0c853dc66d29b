"""Whatever a provider sends: events, or an error that is the provider's; and no text can pass for
structure."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.answer import answer_of
from server.chat.chunk_encoder import ChunkEncoder, completion
from server.chat.events import Event
from server.chat.responses import ResponsesEncoder, parse_response
from server.errors import HoldfastError
from server.providers import PROTOCOLS
from server.providers.provider import CloudProtocol
from tests.providers.clouds import ask

CHAT, RESPONSES = PROTOCOLS["openai"], PROTOCOLS["openai-responses"]
both = pytest.mark.parametrize("protocol", [CHAT, RESPONSES], ids=["chat", "responses"])
few: st.SearchStrategy[Any] = (
    st.none() | st.integers(-1, 1) | st.just("a") | st.just({}) | st.just([1]) | st.just([{}])
)
function = st.fixed_dictionaries({}, optional={"name": few, "arguments": few})
call = st.fixed_dictionaries({}, optional={"index": few, "id": few, "function": function | few})
delta = st.fixed_dictionaries(
    {},
    optional={
        "content": few,
        "reasoning": few,
        "refusal": few,
        "tool_calls": st.lists(call, max_size=2) | few,
        "reasoning_details": few,
    },
)
choice = st.fixed_dictionaries(
    {"delta": delta | few},
    optional={
        "index": few,
        "finish_reason": few,
        "logprobs": st.fixed_dictionaries({"content": few}) | few,
    },
)
chunk = st.fixed_dictionaries({"choices": st.lists(choice, max_size=2) | few}, optional={"id": few})
part = st.fixed_dictionaries(
    {"type": st.sampled_from(["output_text", "refusal"])},
    optional={"text": few, "refusal": few, "logprobs": few},
)
item = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "reasoning"])},
    optional={
        "content": st.lists(part, max_size=2) | few,
        "call_id": few,
        "name": few,
        "arguments": few,
        "summary": few,
        "encrypted_content": few,
        "id": few,
    },
)
event = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["response.output_item.added", "response.output_item.done", "response.completed",
             "response.output_text.delta", "response.function_call_arguments.delta"]
        ),
        "output_index": st.integers(0, 1) | few,
    },
    optional={
        "item": item,
        "delta": few,
        "logprobs": few,
        "response": st.fixed_dictionaries({"id": few, "model": few}, optional={"usage": few}),
    },
)  # fmt: skip

PLAIN = parse_response({"model": "m", "input": "hi"}, lambda identifier: None)
LOGPROBS = parse_response(
    {"model": "m", "input": "hi", "include": ["message.output_text.logprobs"], "top_logprobs": 1},
    lambda identifier: None,
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["response.created", "response.output_item.added", "response.output_item.done",
         "response.output_text.delta", "response.function_call_arguments.delta", "message",
         "response.completed", "response.failed", "error", "function_call", "reasoning", "stop",
         "rate_limit_exceeded", "output_text", "openai-responses", "reasoning.encrypted"]
    )
)  # fmt: skip
keys = st.sampled_from(
    ["type", "choices", "delta", "message", "index", "content", "tool_calls", "function", "name",
     "arguments", "error", "code", "usage", "prompt_tokens", "completion_tokens", "finish_reason",
     "logprobs", "response", "output", "output_index", "item", "id", "call_id", "token", "text",
     "input_tokens", "output_tokens", "summary", "reasoning_content", "reasoning_details", "format",
     "incomplete_details", "status", "refusal", "detail", "param", "model"]
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


def told(events: list[Event]) -> None:
    """What every kind of client is told of them."""
    for request in (PLAIN, LOGPROBS):
        orjson.loads(completion(answer_of(events), request.chat, 0))
        ChunkEncoder(request.chat, 0).feed(events)
        ResponsesEncoder(request, "resp_1", 0).feed(events)


CALLED = {"type": "function_call", "call_id": "x", "name": "f", "arguments": ""}
BEGUN: dict[CloudProtocol, Any] = {
    CHAT: {"id": "a", "choices": [{"index": 0, "delta": {"content": "a"}}]},
    RESPONSES: {"type": "response.output_item.added", "output_index": 0, "item": CALLED},
}


@both
@settings(max_examples=200)
@given(one=chunk | event | values)
def test_any_event(protocol: CloudProtocol, one: Any) -> None:
    decoder = protocol.decoder(ask())
    begun = decoder.feed(b"data: " + orjson.dumps(BEGUN[protocol]) + b"\n\n")
    try:
        events = decoder.feed(b"data: " + orjson.dumps(one) + b"\n\n")
    except HoldfastError as error:
        assert error.sentence  # noqa: PT017
    else:
        told(begun + events)


@both
@settings(max_examples=200)
@given(body=values.map(orjson.dumps) | st.binary(max_size=20), status=st.integers(201, 599))
def test_any_answer(protocol: CloudProtocol, body: bytes, status: int) -> None:
    failed = protocol.failure(status, {"retry-after": "x"}, body)
    assert isinstance(failed, HoldfastError)
    assert len(failed.sentence) < 2000
    try:
        told(protocol.decode(body, ask()))
    except HoldfastError as error:
        assert error.sentence  # noqa: PT017
