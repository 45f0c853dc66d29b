from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from server.chat import StreamFilter, finish_reply
from server.chat.answer import answer_of
from server.chat.chunk_decoder import ChunkDecoder
from server.chat.chunk_encoder import ChunkEncoder, completion
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
from server.chat.request import ChatRequest, parse_chat
from server.chat.sse import DONE
from server.chat.usage import Usage
from server.errors import ProviderError
from tests.chat.recorded import NAMES, events, recording

CREATED = 1_790_000_000
CHATS = [name for name in NAMES if "messages" in recording(name).client]
every_chat = pytest.mark.parametrize("name", CHATS)
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
OTHER = {"token": "b", "logprob": -0.9, "bytes": [98]}


def chat(**fields: Any) -> ChatRequest:
    return parse_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


STREAMED = chat(stream=True, stream_options={"include_usage": True})


def encode(*said: Event, request: ChatRequest = STREAMED) -> bytes:
    return ChunkEncoder(request, CREATED).feed([Began("id", "model"), *said])


def deltas(stream: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for one in events(stream) for choice in one["choices"]]


def without_ceremony(stream: bytes) -> list[Any]:
    """What differs between engines: the wording of null and of the head."""
    chunks = events(stream)
    for one in chunks[:-1]:
        for key in ("created", "system_fingerprint", "timings"):
            one.pop(key, None)
        for choice in one["choices"]:
            choice["delta"] = {
                key: value
                for key, value in choice["delta"].items()
                if value is not None or key != "content"
            }
            if choice["delta"].get("role"):
                choice["delta"].pop("content", None)
            without_ids(choice)
            if choice.get("logprobs"):
                choice["logprobs"].pop("refusal", None)
    return chunks


def without_ids(choice: dict[str, Any]) -> None:
    """llama-server tells which tokens they are; OpenAI has no place for that."""
    for entry in (choice.get("logprobs") or {}).get("content") or ():
        for one in (entry, *entry["top_logprobs"]):
            one.pop("id", None)


@every_chat
def test_a_translated_stream_has_the_shape_of_one_that_is_passed_on(name: str) -> None:
    made = recording(name)
    request = made.streamed()
    assert isinstance(request, ChatRequest)
    passed = without_ceremony(StreamFilter(request).feed(made.sse))
    said = ChunkDecoder().feed(made.sse)
    translated = without_ceremony(ChunkEncoder(request, CREATED).feed(said))
    assert answer_of(said).ended
    assert [one for one in translated if one != "[DONE]" and "usage" in one] == [
        one for one in passed if one != "[DONE]" and "usage" in one
    ]
    if name == "tool":  # the engine begins a call with its first arguments
        assert len(translated) >= len(passed)
        return
    for choice in answer_of(said).choices:
        before, after = (
            [one for one in stream[:-2] if one["choices"][0]["index"] == choice]
            for stream in (passed, translated)
        )
        assert after == before


@every_chat
def test_a_folded_answer_is_the_one_that_is_passed_on(name: str) -> None:
    made = recording(name)
    request = made.request()
    assert isinstance(request, ChatRequest)
    passed = orjson.loads(finish_reply(made.sse, chat_folding(request)).body)
    translated = orjson.loads(
        completion(answer_of(ChunkDecoder().feed(made.sse)), request, passed["created"])
    )
    passed.pop("system_fingerprint")
    passed.pop("timings", None)
    for choice in translated["choices"]:
        if choice["logprobs"]:
            choice["logprobs"].pop("refusal")
    for choice in passed["choices"]:
        without_ids(choice)
    assert translated == passed
    ChatCompletion.model_validate(translated)


def chat_folding(request: ChatRequest) -> ChatRequest:
    """The same request with a limit beyond which the engine is asked to stream."""
    return dataclasses.replace(request, max_tokens=1000)


def test_tool_calls_come_as_openai_sends_them() -> None:
    stream = encode(
        CallBegan(0, "x", "f"),
        Arguments(0, '{"a":'),
        Arguments(0, ' 1}'),
        CallBegan(1, "y", "g"),
        Finished("tool_calls"),
        Ended(),
    )  # fmt: skip
    assert deltas(stream.removesuffix(DONE)) == [
        {"role": "assistant", "content": ""},
        {"tool_calls": [{"index": 0, "id": "x", "type": "function",
                         "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]},
        {"tool_calls": [{"index": 1, "id": "y", "type": "function",
                         "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]  # fmt: skip


def test_thinking_has_both_names_and_its_signature() -> None:
    detail = {"type": "reasoning.text", "format": "anthropic", "signature": "s", "index": 0}
    stream = encode(Thinking("hm"), ThinkingDetail(detail), Text("a"))
    assert deltas(stream)[1:] == [
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"reasoning_details": [detail]},
        {"content": "a"},
    ]


def test_log_probabilities_come_with_their_text() -> None:
    request = chat(stream=True, logprobs=True, top_logprobs=1)
    stream = encode(Text("a"), Logprobs([{**TOKEN, "top_logprobs": [OTHER]}]), request=request)
    _, said = events(stream)
    assert said["choices"][0]["delta"] == {"content": "a"}
    assert said["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == [OTHER]
    alone = events(encode(Logprobs([TOKEN]), request=request))[-1]
    assert alone["choices"][0]["delta"] == {}
    assert alone["choices"][0]["logprobs"]["content"] == [TOKEN]
    chosen = encode(
        Text("a"),
        Logprobs([{**TOKEN, "top_logprobs": [OTHER]}]),
        request=chat(stream=True, logprobs=True),
    )
    assert events(chosen)[-1]["choices"][0]["logprobs"]["content"] == [TOKEN]


def test_nothing_is_written_before_the_first_word() -> None:
    encoder = ChunkEncoder(STREAMED, CREATED)
    assert encoder.feed([Began("id", "model"), Used(Usage(3, 0))]) == b""
    assert encoder.feed([Text("a")]).count(b"\n\n") == 2


def test_usage_comes_only_where_it_was_asked_for() -> None:
    said: list[Event] = [Text("a"), Used(Usage(3, 1)), Used(Usage(3, 2)), Finished("stop"), Ended()]
    *_, usage, last = events(encode(*said))
    assert last == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"] == Usage(3, 2).as_json()
    assert b'"usage"' not in encode(*said, request=chat(stream=True))


def test_an_error_is_one_event_and_the_last() -> None:
    encoder = ChunkEncoder(STREAMED, CREATED)
    encoder.feed([Began("id", "model"), Text("a")])
    (event,) = events(encoder.error(ProviderError("It broke off")))
    assert event["error"]["code"] == "provider_error"


def test_a_refusal_alone_has_no_content() -> None:
    answer = answer_of([Began("id", "model"), Refusal("no"), Finished("stop"), Ended()])
    (choice,) = orjson.loads(completion(answer, chat(), CREATED))["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "no"}


def test_an_answer_without_a_word() -> None:
    answer = answer_of([Began("id", "model"), Finished("length"), Used(Usage(3, 0)), Ended()])
    whole = orjson.loads(completion(answer, chat(), CREATED))
    ChatCompletion.model_validate(whole)
    (choice,) = whole["choices"]
    assert choice["message"] == {"role": "assistant", "content": ""}
    assert choice["finish_reason"] == "length"


words = st.text(min_size=1, max_size=6) | st.sampled_from(['"', "\\", "\n\n", "data: [DONE]\n\n"])
details = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["reasoning.text", "reasoning.encrypted"]),
        "format": st.sampled_from(["anthropic", "gemini", "openai-responses"]),
        "index": st.integers(0, 3),
    },
    optional={"text": words, "signature": words, "data": words, "at": st.integers(0, 9)},
)


@st.composite
def said_by(draw: st.DrawFn, choice: int) -> list[Event]:
    """What one choice says, and how it ends."""
    said: list[Event] = draw(
        st.lists(
            st.builds(Thinking, words, st.just(choice))
            | st.builds(ThinkingDetail, details, st.just(choice))
            | st.builds(Text, words, st.just(choice))
            | st.builds(Refusal, words, st.just(choice)),
            max_size=4,
        )
    )
    reason: FinishReason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    for index in range(draw(st.integers(0, 2))):
        said.append(CallBegan(index, f"call_{index}", draw(st.sampled_from("fg")), choice))
        pieces = draw(st.lists(words, min_size=1, max_size=3))
        said += [Arguments(index, piece, choice) for piece in pieces]
        reason = "tool_calls"
    return [*said, Finished(reason, choice)]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    said = [event for choice in range(draw(st.integers(1, 3))) for event in draw(said_by(choice))]
    usage = draw(st.builds(Usage, *[st.integers(0, 9)] * 5))
    return [Began("id", "model"), *said, Used(usage), Ended()]


@given(answer=answers(), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_what_is_encoded_is_decoded(answer: list[Event], cuts: list[int]) -> None:
    encoder, decoder = ChunkEncoder(STREAMED, CREATED), ChunkDecoder(ProviderError, ProviderError)
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    decoded: list[Event] = []
    for begin, end in itertools.pairwise(edges):
        decoded += decoder.feed(encoder.feed(answer[begin:end]))
    assert decoded == answer

    whole = completion(answer_of(answer), STREAMED, CREATED)
    ChatCompletion.model_validate_json(whole)
    again = answer_of(ChunkDecoder(ProviderError, ProviderError).decode(whole))
    said = answer_of(answer)
    assert again.usage == said.usage
    assert again.choices == said.choices


@settings(max_examples=40)  # its types take their time
@given(answer=answers())
def test_the_openai_client_puts_it_together(answer: list[Event]) -> None:
    state = ChatCompletionStreamState()
    for event in events(ChunkEncoder(STREAMED, CREATED).feed(answer))[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    snapshot = state.current_completion_snapshot
    for choice in snapshot.choices:
        said = answer_of(answer).choices[choice.index]
        assert (choice.message.content or "") == said.text
        assert (choice.message.refusal or "") == said.refusal
        assert choice.finish_reason == said.reason
        calls = [one.function for one in choice.message.tool_calls or ()]
        assert [(one.name, one.arguments) for one in calls] == [
            (one.name, one.arguments) for one in said.calls
        ]
