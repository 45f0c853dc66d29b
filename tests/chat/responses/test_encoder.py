from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    FinishReason,
    Logprobs,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.opaque import unwrapped
from server.chat.responses import (
    ResponsesEncoder,
    ResponsesRequest,
    parse_response,
    whole_response,
)
from server.chat.usage import Usage
from server.errors import Overloaded, ProviderError
from server.providers.openai_responses_stream import ResponsesDecoder
from tests.effort import cpu_seconds

CREATED = 1_790_000_000
_EVENT: Any = ResponseStreamEvent  # of which no type checker takes a union for a type
_events = TypeAdapter(ResponseStreamEvent)


def asked(**fields: Any) -> ResponsesRequest:
    body = {"model": "m", "input": "hi", "stream": True, **fields}
    return parse_response(body, lambda identifier: None)


PLAIN = asked()


def encode(*said: Event, request: ResponsesRequest = PLAIN) -> list[dict[str, Any]]:
    """The typed events, each of them taken by the official client's own types."""
    encoder = ResponsesEncoder(request, "resp_1", CREATED)
    return parsed(encoder.feed([Began("id", "model"), *said]))


def parsed(stream: bytes) -> list[dict[str, Any]]:
    assert stream == b"" or stream.endswith(b"\n\n")
    events = []
    for block in stream.split(b"\n\n")[:-1]:
        name, data = block.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        _events.validate_json(data.removeprefix(b"data: "))
        events.append(event)
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


WHOLE: list[Event] = [Finished("stop"), Used(Usage(7, 3, 2, 1, 1)), Ended()]


def test_the_whole_sequence_of_an_answer() -> None:
    events = encode(Thinking("h"), Thinking("m"), Text("a"), Text("b"), *WHOLE)
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    response = events[-1]["response"]
    assert response["id"] == "resp_1"
    assert response["model"] == "model"
    assert response["status"] == "completed"
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 10,
    }
    reasoning, message = response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert message["content"][0]["text"] == "ab"
    assert message["status"] == "completed"


def test_thinking_is_a_summary_where_one_was_asked_for() -> None:
    request = asked(reasoning={"summary": "auto"})
    events = encode(Thinking("hm"), Text("a"), *WHOLE, request=request)
    assert kinds(events)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert events[7]["item"]["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_calls_whose_arguments_come_mixed() -> None:
    events = encode(
        CallBegan(0, "x", "f"),
        CallBegan(1, "y", "g"),
        Arguments(1, "[]"),
        Arguments(0, "{}"),
        CallBegan(2, "z", "h"),
        Finished("tool_calls"),
        Ended(),
    )
    deltas = [one for one in events if one["type"].endswith("arguments.delta")]
    assert [(one["output_index"], one["delta"]) for one in deltas] == [(1, "[]"), (0, "{}")]
    output = events[-1]["response"]["output"]
    assert [(one["call_id"], one["name"], one["arguments"]) for one in output] == [
        ("x", "f", "{}"),
        ("y", "g", "[]"),
        ("z", "h", "{}"),
    ]
    assert len({one["id"] for one in output}) == 3


DETAIL = {
    "type": "reasoning.text",
    "format": "anthropic",
    "text": "hm",
    "signature": "s",
    "index": 0,
    "at": 0,
}


def test_what_a_provider_wants_back_is_encrypted_content() -> None:
    events = encode(Thinking("hm"), ThinkingDetail(DETAIL), ThinkingDetail(DETAIL), *WHOLE)
    first, second = events[-1]["response"]["output"]
    assert first["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert second["content"] == []
    assert unwrapped(first["encrypted_content"]) == DETAIL


def test_a_refusal_is_a_part_of_the_message() -> None:
    events = encode(Text("a"), Refusal("no"), *WHOLE)
    (message,) = events[-1]["response"]["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    done = [one for one in events if one["type"].endswith(".done")]
    assert [one.get("content_index") for one in done] == [0, 0, 1, 1, None]


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_it_ends(reason: FinishReason, status: str, details: Any) -> None:
    last = encode(Text("a"), Finished(reason), Ended())[-1]
    assert last["type"] == f"response.{status}"
    assert last["response"]["status"] == status
    assert last["response"]["incomplete_details"] == details


def test_log_probabilities() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97]}
    said: list[Event] = [Text("a"), Logprobs([{**token, "top_logprobs": [token]}]), *WHOLE]
    include = ["message.output_text.logprobs"]
    for top, others in ((0, []), (1, [token])):
        request = asked(include=include, top_logprobs=top)
        (message,) = encode(*said, request=request)[-1]["response"]["output"]
        assert message["content"][0]["logprobs"] == [{**token, "top_logprobs": others}]


def test_log_probabilities_of_a_long_answer() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    request = asked(include=["message.output_text.logprobs"])
    said: list[Event] = [Text("a"), *[Logprobs([token])] * 30_000, *WHOLE]
    answer = cpu_seconds(lambda: whole_response(said, request, "resp_1", CREATED))
    assert answer < 0.5, "2 s, if each is added to all before"


def test_nothing_is_written_before_something_is_said() -> None:
    assert encode(Used(Usage(3, 0))) == []
    assert kinds(encode(Finished("stop"), Ended())) == ["created", "in_progress", "completed"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ProviderError("It broke off"), "server_error"), (Overloaded("full"), "rate_limit_exceeded")],
)
def test_an_error_is_a_failed_response_and_the_last_event(error: Any, code: str) -> None:
    encoder = ResponsesEncoder(PLAIN, "resp_1", CREATED)
    assert kinds(parsed(encoder.error(error))) == ["created", "in_progress", "failed"]
    encoder = ResponsesEncoder(PLAIN, "resp_1", CREATED)
    encoder.feed([Began("id", "model"), Text("a")])
    (event,) = parsed(encoder.error(error))
    assert event["type"] == "response.failed"
    assert event["response"]["status"] == "failed"
    assert event["response"]["error"]["code"] == code


def test_what_was_asked_is_repeated() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    request = asked(
        instructions="be brief",
        tools=[tool, {"type": "function", "name": "g"}],
        tool_choice={"type": "function", "name": "f"},
        metadata={"a": "b"},
        reasoning={"effort": "low"},
        text={"verbosity": "low"},
    )
    response = Response.model_validate(encode(*WHOLE, request=request)[-1]["response"])
    assert response.instructions == "be brief"
    assert [one.name for one in response.tools if one.type == "function"] == ["f", "g"]
    assert response.metadata == {"a": "b"}


words = st.text(min_size=1, max_size=5) | st.sampled_from(["\n\n", '"', "data: x\n\n"])
details = st.fixed_dictionaries(
    {
        "type": st.just("reasoning.text"),
        "format": st.sampled_from(["anthropic", "gemini"]),
        "signature": words,
        "index": st.integers(0, 3),
    }
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    said: list[Event] = draw(
        st.lists(
            st.builds(Thinking, words)
            | st.builds(ThinkingDetail, details)
            | st.builds(Text, words)
            | st.builds(Refusal, words),
            max_size=6,
        )
    )
    calls = draw(st.integers(0, 2))
    for index in range(calls):
        said.append(CallBegan(index, f"call_{index}", draw(st.sampled_from("fg"))))
        said += [Arguments(index, one) for one in draw(st.lists(words, min_size=1, max_size=3))]
    reason: FinishReason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    end = Finished("tool_calls" if calls and reason == "stop" else reason)
    used = Used(draw(st.builds(Usage, *[st.integers(0, 9)] * 5)))
    return [Began("id", "model"), *said, end, used, Ended()]


@given(answer=answers(), summary=st.booleans())
def test_what_is_encoded_is_decoded(answer: list[Event], summary: bool) -> None:
    request = asked(reasoning={"summary": "auto"} if summary else {})
    stream = ResponsesEncoder(request, "resp_1", CREATED).feed(answer)
    decoded = [
        ThinkingDetail(unwrapped(one.detail["data"]) or {})
        if isinstance(one, ThinkingDetail)
        else one
        for one in ResponsesDecoder().feed(stream)
    ]
    assert decoded == [Began("resp_1", "model"), *apart(answer[1:])]


def apart(answer: list[Event]) -> Iterator[Event]:
    """With what the decoder puts between the texts of two messages."""
    spoke: int | None = None
    message = 0
    for event in answer:
        if isinstance(event, Thinking | ThinkingDetail | CallBegan):
            message += 1
        elif isinstance(event, Text):
            if spoke not in (None, message):
                yield Text("\n\n")
            spoke = message
        yield event


@settings(max_examples=25)  # its types take their time
@given(answer=answers())
def test_the_openai_client_puts_it_together(answer: list[Event]) -> None:
    encoder = ResponsesEncoder(PLAIN, "resp_1", CREATED)
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    events = parsed(encoder.feed(answer))
    for event in events:
        state.handle_event(construct_type_unchecked(value=event, type_=_EVENT))
    whole = whole_response(answer, PLAIN, "resp_1", CREATED)
    assert whole == events[-1]["response"]
    assert whole["output"] == encoder.response["output"]
    Response.model_validate(whole)
    if whole["status"] == "completed":
        output = state._completed_response.to_dict()["output"]
        for item in output:
            for one in (item, *item.get("content", ())):  # what the client adds
                one.pop("parsed_arguments", None)
                one.pop("parsed", None)
        assert output == whole["output"]


@given(answer=answers())
def test_an_answer_can_be_sent_back_as_it_came(answer: list[Event]) -> None:
    encoder = ResponsesEncoder(PLAIN, "resp_1", CREATED)
    encoder.feed(answer)
    outputs = [
        {"type": "function_call_output", "call_id": one["call_id"], "output": "1"}
        for one in encoder.response["output"]
        if one["type"] == "function_call"
    ]
    for item in encoder.response["output"]:
        if item["type"] == "function_call":
            item["arguments"] = "{}"  # what was drawn is no JSON
    again = asked(
        input=[
            *PLAIN.items,
            *encoder.response["output"],
            *outputs,
            {"role": "user", "content": "b"},
        ]
    )
    said = [event.text for event in answer if isinstance(event, Thinking)]
    told = [
        one.get("reasoning_content", "") for one in again.chat.messages if one["role"] != "user"
    ]
    assert "".join(told).replace("\n\n", "") == "".join(said).replace("\n\n", "")
