from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.usage import Usage
from server.errors import ProviderBusy, ProviderError
from server.providers.anthropic import PROTOCOL
from tests.providers.clouds import ask

TYPED: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 20,
            "cache_read_input_tokens": 300,
            "cache_creation_input_tokens": 4000,
            "output_tokens": 1,
        },
    },
}
STOP = {"type": "message_stop"}


def begin(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, key: str, value: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}}


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def done(reason: str, tokens: int = 50, **more: Any) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None, **more},
        "usage": {"output_tokens": tokens, "output_tokens_details": {"thinking_tokens": 9}},
    }


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [delta(index, "text_delta", "text", piece) for piece in pieces]
    return [begin(index, {"type": "text", "text": ""}), *deltas, end(index)]


def tool(index: int, identifier: str, *pieces: str) -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": identifier, "name": "weather", "input": {}}
    deltas = [delta(index, "input_json_delta", "partial_json", piece) for piece in pieces]
    return [begin(index, block), *deltas, end(index)]


def thought(index: int, words: str, signature: str) -> list[dict[str, Any]]:
    return [
        begin(index, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(index, "thinking_delta", "thinking", words),
        delta(index, "signature_delta", "signature", signature),
        end(index),
    ]


def wire(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in events
    )


def decode(*chunks: bytes) -> list[Event]:
    decoder = PROTOCOL.decoder(ask())
    return [event for chunk in chunks for event in decoder.feed(chunk)]


RICH = [
    START,
    {"type": "ping"},
    *thought(0, "Hm, déjà", "sig=="),
    begin(1, {"type": "redacted_thinking", "data": "crypt"}),
    end(1),
    *text(2, "Let me ", "see 🌍"),
    *thought(3, "more", "sig2"),
    *tool(4, "toolu_1", "", '{"city": "Pa', 'ris"}'),
    *tool(5, "toolu_2", ""),
    {"type": "a_new_kind", "x": 1},
    done("tool_use"),
    STOP,
]
BY = {"format": "anthropic", "model": "claude-x"}
SAID: list[Event] = [
    Began("msg_1", "claude-x"),
    Used(Usage(4320, 1, 300, 4000)),
    Thinking("Hm, déjà"),
    ThinkingDetail({"type": "reasoning.text", "text": "Hm, déjà", "signature": "sig==",
                    **BY, "index": 0, "at": 0}),
    ThinkingDetail({"type": "reasoning.encrypted", "data": "crypt", **BY, "index": 1, "at": 0}),
    Text("Let me "),
    Text("see 🌍"),
    Thinking("more"),
    ThinkingDetail({"type": "reasoning.text", "text": "more", "signature": "sig2",
                    **BY, "index": 3, "at": 12}),
    CallBegan(0, "toolu_1", "weather"),
    Arguments(0, '{"city": "Pa'),
    Arguments(0, 'ris"}'),
    CallBegan(1, "toolu_2", "weather"),
    Arguments(1, "{}"),
    Used(Usage(4320, 50, 300, 4000, 9)),
    Finished("tool_calls"),
    Ended(),
]  # fmt: skip


def test_the_streams_here_are_as_the_sdk_knows_them() -> None:
    for event in RICH:
        if event["type"] not in ("ping", "a_new_kind"):
            TYPED.validate_python(event)


def test_a_stream_with_everything() -> None:
    assert decode(wire(*RICH)) == SAID


def test_wherever_it_is_cut() -> None:
    stream = wire(*RICH)
    for at in range(len(stream) + 1):
        assert decode(stream[:at], stream[at:]) == SAID, at
    assert decode(*(stream[at : at + 1] for at in range(len(stream)))) == SAID


def test_what_follows_the_end_is_dropped() -> None:
    assert decode(wire(*RICH, *RICH)) == SAID


def test_a_stream_without_its_end_has_not_ended() -> None:
    assert Ended() not in decode(wire(*RICH[:-1]))


@pytest.mark.parametrize(
    ("reason", "more", "expected"),
    [
        ("end_turn", {}, [Finished("stop")]),
        ("max_tokens", {}, [Finished("length")]),
        ("model_context_window_exceeded", {}, [Finished("length")]),
        ("stop_sequence", {"stop_sequence": "END"}, [Finished("stop", stop="END")]),
        ("tool_use", {}, [Finished("tool_calls")]),
        ("pause_turn", {}, [Finished("stop")]),
        ("refusal", {}, [Finished("content_filter")]),
        (
            "refusal",
            {"stop_details": {"type": "refusal", "category": "bio", "explanation": "No."}},
            [Refusal("No."), Finished("content_filter")],
        ),
        ("something_new", {}, [Finished("stop")]),
    ],
)
def test_why_it_ended(reason: str, more: dict[str, Any], expected: list[Event]) -> None:
    said = decode(wire(START, done(reason, **more), STOP))
    assert said[3:-1] == expected


def test_usage_that_changes_late_counts() -> None:
    late = done("end_turn")
    late["usage"] |= {"input_tokens": 30, "cache_read_input_tokens": None}
    used = [one.usage for one in decode(wire(START, late)) if isinstance(one, Used)]
    assert used[-1] == Usage(4330, 50, 300, 4000, 9)


def test_an_error_in_the_stream() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(ProviderBusy):
        decode(wire(*RICH[:5], error))


@pytest.mark.parametrize(
    "sent",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b"data: {}\n\n",
        wire({"type": "message_start"}),
        wire({"type": "content_block_delta", "index": 0}),
        wire(delta(0, "thinking_delta", "thinking", "x")),
        wire({"type": "error"}),
        wire({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
              "usage": {"output_tokens": 1}}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_the_providers_error(sent: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        decode(sent)


def folded(events: list[dict[str, Any]]) -> Message:
    """As the official SDK puts a stream together."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if event["type"] != "ping":
            typed = TYPED.validate_python(event)
            snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    assert isinstance(snapshot, Message)
    return snapshot


def plain(events: list[Event]) -> dict[str, Any]:
    """What was said, whichever way."""
    kept: dict[str, Any] = {"text": "", "thinking": "", "calls": {}, "details": [], "reason": None}
    for event in events:
        match event:
            case Text(text=words):
                kept["text"] += words
            case Thinking(text=words):
                kept["thinking"] += words
            case CallBegan(index=index, id=identifier, name=name):
                kept["calls"][index] = [identifier, name, ""]
            case Arguments(index=index, text=piece):
                kept["calls"][index][2] += piece
            case ThinkingDetail(detail=detail):
                kept["details"].append(dict(detail))
            case Finished(reason=reason):
                kept["reason"] = reason
            case Used(usage=usage):
                kept["usage"] = usage
    kept["calls"] = {
        index: [one, name, orjson.loads(arguments)]
        for index, (one, name, arguments) in kept["calls"].items()
    }
    return kept


def test_a_whole_answer_says_what_its_stream_says() -> None:
    events = [event for event in RICH if event["type"] != "a_new_kind"]
    body = folded(events).model_dump_json().encode()
    assert plain(PROTOCOL.decode(body, ask())) == plain(SAID)


calm = settings(max_examples=60)
words = st.text(max_size=12)
blocks = st.lists(
    st.one_of(
        st.tuples(st.just("text"), words, words),
        st.tuples(st.just("tool"), words, words),
        st.tuples(st.just("thought"), words, words),
    ),
    max_size=5,
)


@calm
@given(said=blocks, size=st.integers(1, 64))
def test_whatever_is_said_whole_and_in_pieces(said: list[tuple[str, str, str]], size: int) -> None:
    events = [START]
    for index, (kind, one, other) in enumerate(said):
        if kind == "text":
            events += text(index, one, other)
        elif kind == "thought":
            events += thought(index, one + "x", other)
        else:
            whole = orjson.dumps({one: other}).decode()
            events += tool(index, f"toolu_{index}", whole[:3], whole[3:])
    events += [done("end_turn"), STOP]
    stream = wire(*events)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    streamed = decode(*pieces)
    assert streamed[-1] == Ended()
    body = folded(events).model_dump_json().encode()
    assert plain(streamed) == plain(PROTOCOL.decode(body, ask()))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"{}", b'{"id": 1}', b'{"id": "a", "model": "b", "content": [1]}']
)
def test_a_whole_answer_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        PROTOCOL.decode(body, ask())
