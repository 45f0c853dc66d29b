from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from server.chat.anthropic import PING, MessagesEncoder, WholeMessage, parse_message
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
from server.errors import Overloaded, ProviderError
from tests.effort import cpu_seconds

TYPED: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
USAGE = Usage(100, 7, 60, 30, 3)
REQUEST = parse_message(
    {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
)
SIGNED = {"type": "reasoning.text", "format": "anthropic", "text": "hm", "signature": "sig",
          "index": 0, "at": 0}  # fmt: skip
CRYPT = {"type": "reasoning.encrypted", "format": "anthropic", "data": "xyz", "index": 1, "at": 0}
FOREIGN = {"type": "reasoning.encrypted", "format": "gemini", "data": "abc", "id": "c1", "index": 0}


def stream(events: Sequence[Event], *, prompt_tokens: int = 0) -> bytes:
    return MessagesEncoder(REQUEST, "req1", prompt_tokens).feed(events)


def sent(written: bytes) -> list[dict[str, Any]]:
    events = []
    for one in written.removesuffix(b"\n\n").split(b"\n\n") if written else []:
        name, data = one.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    return events


def folded(written: bytes) -> Message:
    """As the official SDK puts a stream together; every event is one that it knows."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in sent(written):
        typed = TYPED.validate_python(event, strict=True)
        snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    assert isinstance(snapshot, Message)
    return snapshot


def whole(events: Sequence[Event]) -> dict[str, Any]:
    message = WholeMessage(REQUEST, "req1")
    message.feed(events)
    body: dict[str, Any] = orjson.loads(message.body())
    Message.model_validate(body)
    return body


def body(*said: Event, end: str = "stop") -> list[Event]:
    return [Began("msg_9", "m"), *said, Finished(end), Used(USAGE), Ended()]  # type: ignore[arg-type]


def test_the_events_of_a_rich_answer() -> None:
    said: list[Event] = [
        Thinking("h"),
        Thinking("m"),
        ThinkingDetail(SIGNED),
        ThinkingDetail(CRYPT),
        Text("Let me "),
        Text("see."),
        CallBegan(0, "c1", "weather"),
        Arguments(0, '{"a":'),
        Arguments(0, "1}"),
        CallBegan(1, "c2", "time"),
    ]
    written = sent(stream([Began("msg_9", "m"), Used(Usage(100, 1)), *said]))
    written += sent(MessagesEncoder(REQUEST, "r").feed([]))
    kinds = [(one["type"].removeprefix("content_block_"), one.get("index")) for one in written]
    assert kinds == [
        ("message_start", None),
        ("start", 0), ("delta", 0), ("delta", 0), ("delta", 0), ("stop", 0),
        ("start", 1), ("stop", 1),
        ("start", 2), ("delta", 2), ("delta", 2), ("stop", 2),
        ("start", 3), ("delta", 3), ("delta", 3), ("stop", 3),
        ("start", 4),
    ]  # fmt: skip
    assert written[0]["message"]["usage"] == {
        "input_tokens": 100,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }
    message = folded(stream(body(*said, end="tool_calls")))
    assert [block.to_dict() for block in message.content] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "time", "input": {}},
    ]
    assert message.stop_reason == "tool_use"
    assert (message.id, message.model, message.role) == ("msg_9", "m", "assistant")
    assert message.usage.to_dict() == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 60,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }


def test_nothing_begins_before_something_is_said() -> None:
    assert stream([Began("a", "m"), Used(USAGE), Finished("stop")]) == b""
    assert [one["type"] for one in sent(stream([Began("a", "m"), Ended()]))] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]


def test_an_answer_has_an_id_of_anthropics_kind_and_a_name() -> None:
    message = folded(stream([Began("chatcmpl-1", ""), Text("a"), Ended()], prompt_tokens=12))
    assert (message.id, message.model) == ("msg_req1", "auto")
    assert message.usage.input_tokens == 12


@pytest.mark.parametrize(
    ("said", "reason", "stop"),
    [
        ([Finished("stop")], "end_turn", None),
        ([Finished("length")], "max_tokens", None),
        ([Finished("content_filter")], "refusal", None),
        ([Finished("stop", stop="END")], "stop_sequence", "END"),
        ([CallBegan(0, "c", "f"), Finished("tool_calls")], "tool_use", None),
        ([CallBegan(0, "c", "f"), Finished("stop")], "tool_use", None),
        ([Refusal("I "), Refusal("won't."), Finished("stop")], "refusal", None),
        ([], "end_turn", None),
    ],
)
def test_why_an_answer_ends(said: list[Event], reason: str, stop: str | None) -> None:
    message = folded(stream([Text("a"), *said, Ended()]))
    assert (message.stop_reason, message.stop_sequence) == (reason, stop)
    assert whole([Text("a"), *said, Ended()])["stop_reason"] == reason


def test_the_words_of_a_refusal() -> None:
    message = folded(stream([Refusal("I "), Refusal("won't."), Finished("stop"), Ended()]))
    assert message.content == []
    assert message.stop_details is not None
    assert message.stop_details.explanation == "I won't."


def test_thinking_that_is_not_shown_keeps_its_signature() -> None:
    message = folded(stream(body(ThinkingDetail({**SIGNED, "text": ""}), Text("a"))))
    assert message.content[0].to_dict() == {"type": "thinking", "thinking": "", "signature": "sig"}


def test_thinking_without_a_signature_is_a_block_without() -> None:
    message = folded(stream(body(Thinking("hm"), Text("a"))))
    assert message.content[0].to_dict() == {"type": "thinking", "thinking": "hm", "signature": ""}


def test_what_another_provider_wants_back_comes_back() -> None:
    message = folded(stream(body(ThinkingDetail(FOREIGN), CallBegan(0, "c1", "f"))))
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [block.to_dict() for block in message.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}]},
    ]
    echoed = parse_message({"model": "m", "max_tokens": 1, "messages": turns}).messages[1]
    assert echoed["reasoning_details"] == [FOREIGN]


@pytest.mark.parametrize("kind", ["reasoning.text", "reasoning.encrypted", "reasoning.summary"])
def test_a_detail_that_says_nothing_breaks_nothing(kind: str) -> None:
    empty = {"type": kind, "format": "anthropic", "index": 0}
    assert whole(body(Text("a"), ThinkingDetail(empty)))["content"][0]["text"] == "a"


@pytest.mark.parametrize("kind", [Text, Thinking, Refusal])
def test_many_pieces_take_no_longer_than_few(kind: type[Text | Thinking | Refusal]) -> None:
    said = body(*[kind("a" * 4096)] * 4000)
    assert cpu_seconds(lambda: whole(said)) < 0.5, "3 s, if each is added to all before"


def test_arguments_of_two_calls_are_not_mixed_up() -> None:
    with pytest.raises(ProviderError, match="mixes"):
        stream([CallBegan(0, "a", "f"), CallBegan(1, "b", "f"), Arguments(0, "{}")])


@pytest.mark.parametrize("arguments", ["[]", "1", "{", '{"a"'])
def test_a_whole_answer_has_no_broken_arguments(arguments: str) -> None:
    with pytest.raises(ProviderError, match="not a JSON object"):
        whole(body(CallBegan(0, "a", "f"), Arguments(0, arguments)))


def test_arguments_lose_no_byte() -> None:
    """litellm#25321, #25605: pieces were dropped, and calls were left without any."""
    pieces = ['{"a', '": 1', "2345678901234567.10, ", '"b": "', "\\ud83c\\udf0d é", '"}']
    events = body(
        CallBegan(0, "a", "f"), *(Arguments(0, piece) for piece in pieces), end="tool_calls"
    )
    deltas = [one["delta"] for one in sent(stream(events)) if one["type"] == "content_block_delta"]
    assert [delta["partial_json"] for delta in deltas] == pieces
    message = WholeMessage(REQUEST, "req1")
    message.feed(events)
    assert "".join(pieces).encode() in message.body()


def test_an_error_is_an_event_that_the_sdk_knows() -> None:
    (event,) = sent(MessagesEncoder(REQUEST, "req1").error(Overloaded("the engine is busy")))
    assert event["error"]["type"] == "rate_limit_error"
    assert event["request_id"] == "req1"
    ErrorResponse.model_validate(event)


def test_a_ping_is_one_event() -> None:
    assert sent(PING) == [{"type": "ping"}]


words = st.text(max_size=10)
calm = settings(max_examples=60)
pieces = st.lists(
    st.one_of(
        st.builds(Text, words),
        st.builds(Thinking, words),
        st.just(ThinkingDetail(SIGNED)),
        st.just(ThinkingDetail(CRYPT)),
        st.just(ThinkingDetail(FOREIGN)),
        st.dictionaries(words, st.integers(-(2**63), 2**64 - 1) | words, max_size=3),
    ),
    max_size=8,
)


@calm
@given(said=pieces, cut=st.integers(0, 30))
def test_whole_and_streamed_answers_are_the_same(said: list[Any], cut: int) -> None:
    events: list[Event] = [Began("msg_9", "m")]
    calls = 0
    for one in said:
        if isinstance(one, dict):
            text = orjson.dumps(one).decode()
            events += [CallBegan(calls, f"c{calls}", "f"), Arguments(calls, text[:3])]
            events += [Arguments(calls, text[3:])]
            calls += 1
        else:
            events.append(one)
    events += [Finished("tool_calls" if calls else "stop"), Used(USAGE), Ended()]
    encoder = MessagesEncoder(REQUEST, "req1")
    message = folded(encoder.feed(events[:cut]) + encoder.feed(events[cut:]))
    complete = whole(events)
    assert message.to_dict(exclude_none=False) == Message.model_validate(complete).to_dict(
        exclude_none=False
    )
    text = "".join(one.text for one in said if isinstance(one, Text))
    assert "".join(block.text for block in message.content if block.type == "text") == text
    inputs = [block.input for block in message.content if block.type == "tool_use"]
    assert inputs == [one for one in said if isinstance(one, dict)]
