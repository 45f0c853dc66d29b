from __future__ import annotations

from typing import Any

import orjson
import pytest

from server.chat.answer import Answer, answer_of
from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Logprobs,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.usage import Usage
from server.errors import ContextExceeded, HoldfastError, ProviderBusy, ProviderError
from server.providers.openai_responses import PROTOCOL
from server.providers.openai_responses_stream import ResponsesDecoder
from tests.fakes.openai_responses import events_of, response_of, script_of_response
from tests.providers.clouds import ask, assistant, model, user

SCRIPTS = {
    "text": "#fake text It is \"sunny\"\\.",
    "thinking": "#fake think Let me see.\n#fake text It is.\n#fake cached 3",
    "calls": '#fake think Hm.\n#fake call f {"a": 1}\n#fake call g {}\n#fake text I ask.',
    "refusal": "#fake refuse I will not.",
    "length": "#fake long 8\n#fake end length",
}  # fmt: skip
every_script = pytest.mark.parametrize("prompt", SCRIPTS.values(), ids=list(SCRIPTS))


def played(prompt: str) -> bytes:
    body = {"model": "gpt-5", "input": prompt}
    return b"".join(stream_event(one) for one in events_of(body, script_of_response(body)))


def stream_event(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.get("type", "x").encode(), orjson.dumps(event))


def read(*events: dict[str, Any]) -> list[Event]:
    return ResponsesDecoder().feed(b"".join([stream_event(one) for one in events]))


@every_script
def test_the_network_may_cut_a_stream_anywhere(prompt: str) -> None:
    stream = played(prompt)
    whole = ResponsesDecoder().feed(stream)
    assert whole[-1] == Ended()
    for at in range(1, len(stream)):
        decoder = ResponsesDecoder()
        assert decoder.feed(stream[:at]) + decoder.feed(stream[at:]) == whole
    decoder = ResponsesDecoder()
    assert [one for at in range(len(stream)) for one in decoder.feed(stream[at : at + 1])] == whole


@every_script
def test_an_answer_says_the_same_whole_and_streamed(prompt: str) -> None:
    body = {"model": "gpt-5", "input": prompt}
    whole = orjson.dumps(response_of(body, script_of_response(body)))
    streamed, folded = (
        answer_of(events)
        for events in (
            ResponsesDecoder().feed(played(prompt)),
            PROTOCOL.decode(whole, ask()),
        )
    )
    assert (streamed.id, streamed.usage) == (folded.id, folded.usage)
    assert streamed.choices == folded.choices
    assert streamed.ended
    assert folded.ended


def answer(name: str) -> Answer:
    return answer_of(ResponsesDecoder().feed(played(SCRIPTS[name])))


def test_what_is_said() -> None:
    calls = answer("calls").choice()
    assert calls.text == "I ask."
    assert calls.thinking == "Hm."
    assert [(one.id, one.name, one.arguments) for one in calls.calls] == [
        ("call_0", "f", '{"a": 1}'),
        ("call_1", "g", "{}"),
    ]
    assert calls.reason == "tool_calls"
    assert answer("length").choice().reason == "length"
    assert answer("refusal").choice().refusal == "I will not."
    thinking = answer("thinking")
    assert thinking.usage is not None
    assert (thinking.usage.cached_tokens, thinking.usage.reasoning_tokens) == (3, 3)


def test_encrypted_reasoning_comes_back_in_the_next_request() -> None:
    """Kept by the client in the message, and written where it stood."""
    choice = answer("thinking").choice()
    (detail,) = choice.details
    assert detail == {
        "type": "reasoning.encrypted",
        "format": "openai-responses",
        "model": "gpt-5-2026-08-07",
        "id": "rs_fake",
        "data": "sealed(Let me see.)",
        "index": 0,
        "at": 0,
    }
    said = assistant(choice.text, reasoning_details=choice.details)
    sent = PROTOCOL.encode(ask(user("a"), said, user("b")), model(name="gpt-5"))
    reasoning, text = orjson.loads(sent.body)["input"][1:3]
    assert reasoning["encrypted_content"] == "sealed(Let me see.)"
    assert text["content"] == "It is."


ITEM = {"type": "function_call", "call_id": "x", "name": "f", "arguments": '{"a":1}', "id": "fc"}
MESSAGE = {
    "type": "message",
    "content": [
        {"type": "output_text", "text": "hi", "logprobs": [{"token": "hi", "logprob": -1}]},
        {"type": "refusal", "refusal": "no"},
        {"type": "annotation"},
    ],
}
OPEN = {
    "type": "reasoning",
    "id": "rs",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "a"}, {"type": "reasoning_text", "text": "b"}],
}


def done(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def delta(kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": 0, "delta": text, **more}


def text_at(place: int, text: str) -> dict[str, Any]:
    return delta("output_text", text, output_index=place)


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


TOKEN = {"token": "hi", "logprob": -1, "bytes": [104, 105]}
SAID: list[tuple[str, list[dict[str, Any]], list[Event]]] = [
    ("began", [{"type": "response.created", "response": {"id": "r", "model": "m"}}],
     [Began("r", "m")]),
    ("ceremony", [{"type": "response.in_progress"}, {"type": "response.queued"},
                  {"type": "response.web_search_call.completed"}], []),
    ("a call that comes whole", [done(ITEM)], [CallBegan(0, "x", "f"), Arguments(0, '{"a":1}')]),
    ("a call twice", [{**done(ITEM), "type": "response.output_item.added"}, done(ITEM)],
     [CallBegan(0, "x", "f"), Arguments(0, '{"a":1}')]),
    ("a message that comes whole", [done(MESSAGE)],
     [Text("hi"), Logprobs([{**TOKEN, "top_logprobs": []}]), Refusal("no")]),
    ("open thoughts whole", [done(OPEN)], [Thinking("a\n\nb")]),
    ("open thoughts", [delta("reasoning_text", "a"), done(OPEN)], [Thinking("a")]),
    ("two summaries",
     [{"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0},
      delta("reasoning_summary_text", "a"),
      {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1},
      delta("reasoning_summary_text", "b")],
     [Thinking("a"), Thinking("\n\n"), Thinking("b")]),
    ("logprobs",
     [delta("output_text", "hi", logprobs=[
         {"token": "hi", "logprob": -1, "top_logprobs": [{"token": "hi", "logprob": -1}]}])],
     [Text("hi"), Logprobs([{**TOKEN, "top_logprobs": [TOKEN]}])]),
    ("another item", [done({"type": "web_search_call"})], []),
    ("where reasoning stood",
     [delta("output_text", "abc"), done({**OPEN, "content": [], "encrypted_content": "e"}, 1)],
     [Text("abc"), ThinkingDetail({
         "type": "reasoning.encrypted", "format": "openai-responses", "id": "rs",
         "data": "e", "index": 1, "at": 3})]),
    ("two messages",
     [text_at(0, "I look"), text_at(0, "."), text_at(2, ""), text_at(2, "It is"), text_at(2, "."),
      done({**OPEN, "content": [], "encrypted_content": "e"}, 3)],
     [Text("I look"), Text("."), Text(""), Text("\n\n"), Text("It is"), Text("."),
      ThinkingDetail({
          "type": "reasoning.encrypted", "format": "openai-responses", "id": "rs",
          "data": "e", "index": 3, "at": 15})]),
    ("two messages that come whole",
     [done(message("a"), 0), done(message(""), 1), done(message("b"), 2)],
     [Text("a"), Text("\n\n"), Text("b")]),
    ("a message after a call", [done(ITEM, 0), text_at(1, "a"), done(message("a"), 1)],
     [CallBegan(0, "x", "f"), Arguments(0, '{"a":1}'), Text("a")]),
    ("the end", [{"type": "response.completed", "response": {"usage": {
        "input_tokens": 5, "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2}}}},
        delta("output_text", "more")],
     [Finished("stop"), Used(Usage(5, 2, 1, 2)), Ended()]),
    ("a filter", [{"type": "response.incomplete", "response": {
        "status": "incomplete", "incomplete_details": {"reason": "content_filter"}}}],
     [Finished("content_filter"), Ended()]),
    ("cut for a new reason", [{"type": "response.incomplete", "response": {
        "status": "incomplete", "incomplete_details": {"reason": "steered"}}}],
     [Finished("length"), Ended()]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "events"), [row[1:] for row in SAID], ids=[r[0] for r in SAID])
def test_what_an_event_says(sent: list[dict[str, Any]], events: list[Event]) -> None:
    assert read(*sent) == events


FAILED: list[tuple[dict[str, Any], type[HoldfastError]]] = [
    ({"type": "error", "code": "rate_limit_exceeded", "message": "m"}, ProviderBusy),
    ({"type": "error", "error": {"type": "tokens", "message": "m"}}, ProviderBusy),
    ({"error": {"type": "tokens", "message": "m"}}, ProviderBusy),
    ({"type": "error", "code": None, "message": "m"}, ProviderError),
    ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}},
     ProviderError),
    ({"type": "response.failed", "response": {"error": {
        "code": "context_length_exceeded", "type": "invalid_request_error", "message": "m"}}},
     ContextExceeded),
]  # fmt: skip


@pytest.mark.parametrize(("event", "kind"), FAILED)
def test_a_failure_in_the_stream_is_raised(
    event: dict[str, Any], kind: type[HoldfastError]
) -> None:
    with pytest.raises(kind):
        read(delta("output_text", "a"), event)


def test_a_whole_answer_may_be_a_failure() -> None:
    with pytest.raises(ProviderError):
        PROTOCOL.decode(b'{"error":{"code":"server_error","message":"m"}}', ask())


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"type":"response.created"}',
        b'{"type":"response.output_text.delta","delta":1,"output_index":0}',
        b'{"type":"response.function_call_arguments.delta","delta":"a","output_index":0}',
        b'{"type":"response.failed"}',
    ],
)
def test_what_cannot_be_read_is_the_providers_fault(data: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        ResponsesDecoder().feed(b"data: " + data + b"\n\n")
    with pytest.raises(ProviderError, match="cannot be read"):
        PROTOCOL.decode(data, ask())


def test_what_follows_the_end_is_dropped() -> None:
    ended = {"type": "response.completed", "response": {}}
    assert read(ended, delta("output_text", "a"))[-1] == Ended()
