from __future__ import annotations

import timeit
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from server.chat import StreamFilter, Usage, sse_comment, sse_error
from server.chat.request import ChatRequest, CompletionRequest, parse_chat
from server.chat.sse import DONE, MAX_EVENT, sse_event
from server.errors import ContextExceeded, EngineError, RequestError
from tests.chat.recorded import NAMES, Recording, events, recording

PLAIN = parse_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True})
ENGINE_FAILED = (
    b'data: {"error":{"code":500,"message":"The model produced output that does not match the '
    b'expected peg-native format","type":"server_error"}}\n\n'
)
"""As llama-server wrote it in the middle of a stream."""

every_recording = pytest.mark.parametrize("name", NAMES)


def feed(request: ChatRequest | CompletionRequest, *chunks: bytes) -> tuple[bytes, StreamFilter]:
    stream = StreamFilter(request)
    return b"".join([stream.feed(chunk) for chunk in chunks]), stream


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    choice = {"finish_reason": None, "index": 0, "delta": delta}
    return sse_event({"choices": [choice], "object": "chat.completion.chunk", **more})


def thoughts(stream: bytes, key: str) -> str:
    deltas = [choice["delta"] for one in events(stream)[:-1] for choice in one["choices"]]
    return "".join(delta.get(key) or "" for delta in deltas)


def test_there_are_recordings_of_every_kind() -> None:
    assert {
        "plain", "thinking", "tool", "two", "logprobs", "top_logprobs",
        "completion", "completion_logprobs", "completion_two",
    } <= set(NAMES)  # fmt: skip
    assert b'"reasoning_content":' in recording("thinking").sse
    assert b'"tool_calls":' in recording("tool").sse
    assert b'"logprobs":{"content":' in recording("logprobs").sse


@every_recording
def test_the_network_may_cut_a_stream_anywhere(name: str) -> None:
    made = recording(name)
    request = made.streamed()
    whole, _ = feed(request, made.sse)
    for at in range(1, len(made.sse)):
        out, stream = feed(request, made.sse[:at], made.sse[at:])
        assert out == whole
        assert stream.done
    single, _ = feed(request, *(made.sse[i : i + 1] for i in range(len(made.sse))))
    assert single == whole


@every_recording
def test_a_stream_that_ends_early_gives_whole_events_and_is_not_done(name: str) -> None:
    made = recording(name)
    request = made.streamed()
    for at in range(len(made.sse)):
        out, stream = feed(request, made.sse[:at])
        assert not stream.done
        assert DONE not in out
        events(out + sse_error(EngineError("broke off")))


@every_recording
def test_the_openai_client_understands_it(name: str) -> None:
    made = recording(name)
    out, stream = feed(made.streamed(), made.sse)
    *parsed, last = events(out)
    assert last == "[DONE]"
    for event in parsed:
        if "messages" in made.client:
            ChatCompletionChunk.model_validate(event)
            continue
        for choice in event["choices"]:  # the client's type is that of a whole answer
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        Completion.model_validate(event)
    assert stream.usage is not None


@every_recording
def test_usage_comes_once_at_the_end_if_it_was_asked_for(name: str) -> None:
    made = recording(name)
    out, stream = feed(made.streamed(), made.sse)
    assert stream.usage is not None
    assert stream.usage.completion_tokens > 0
    *others, final, _ = events(out)
    assert final["choices"] == []
    assert final["usage"] == stream.usage.as_json()
    assert all("usage" not in one and one["choices"] for one in others)

    out, silent = feed(made.streamed(usage=False), made.sse)
    assert b'"usage"' not in out
    assert events(out) == [*others, "[DONE]"]
    assert silent.usage == stream.usage


def test_usage_of_several_choices_is_added_up() -> None:
    made = recording("two")
    each = [one["usage"] for one in events(made.sse)[:-1] if one.get("usage")]
    assert len(each) == 2
    _, stream = feed(made.streamed(), made.sse)
    assert stream.usage == Usage(
        each[0]["prompt_tokens"],
        sum(one["completion_tokens"] for one in each),
        min(one["prompt_tokens_details"]["cached_tokens"] for one in each),
    )


@pytest.mark.parametrize("name", ["plain", "tool", "top_logprobs"])
def test_ordinary_events_pass_byte_for_byte(name: str) -> None:
    made = recording(name)
    out, _ = feed(made.streamed(usage=False), made.sse)
    wanted = [one for one in made.sse.split(b"\n\n") if b'"usage":' not in one]
    assert out.split(b"\n\n") == wanted


def test_thinking_has_both_names() -> None:
    made = recording("thinking")
    out, _ = feed(made.streamed(), made.sse)
    thought = thoughts(made.sse, "reasoning_content")
    assert thought
    assert thoughts(out, "reasoning_content") == thought
    assert thoughts(out, "reasoning") == thought


texts = st.text() | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        '"usage":',
        '"error":',
        '"reasoning_content":"x"',
        "data: [DONE]\n\n",
        "\n\n",
    ]
)


@given(pieces=st.lists(texts, min_size=1, max_size=4), content=texts)
def test_no_text_can_pass_for_structure(pieces: list[str], content: str) -> None:
    sent = b"".join(
        [*(chunk({"reasoning_content": one}) for one in pieces), chunk({"content": content})]
    )
    out, stream = feed(PLAIN, sent + DONE)
    assert thoughts(out, "reasoning") == thoughts(out, "reasoning_content") == "".join(pieces)
    assert thoughts(out, "content") == content
    assert stream.done
    assert stream.error is None


def test_null_thinking_stays_alone() -> None:
    sent = chunk({"reasoning_content": None, "content": "a"})
    assert feed(PLAIN, sent)[0] == sent


def test_null_usage_and_error_change_nothing() -> None:
    out, stream = feed(PLAIN, chunk({"content": "a"}, usage=None, error=None) + DONE)
    assert thoughts(out, "content") == "a"
    assert stream.usage is None
    assert stream.done


def test_comments_pass() -> None:
    out, stream = feed(PLAIN, b":\n\n", b": ping\n\n" + chunk({"content": "a"}), DONE)
    assert out == b":\n\n: ping\n\n" + chunk({"content": "a"}) + DONE
    assert stream.done


def test_an_error_of_the_engine_becomes_openais_and_ends_it() -> None:
    out, stream = feed(
        PLAIN, chunk({"content": "a"}) + ENGINE_FAILED + DONE, chunk({"content": "b"})
    )
    first, last = events(out)
    assert first["choices"][0]["delta"] == {"content": "a"}
    assert last["error"]["code"] == "engine_error"
    assert last["error"]["type"] == "server_error"
    assert isinstance(stream.error, EngineError)
    assert not stream.done


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 400, "type": "exceed_context_size_error", "n_ctx": 8}, ContextExceeded),
        ({"code": 400, "message": "x"}, RequestError),
        ({"code": "x"}, EngineError),
        ("text", EngineError),
    ],
)  # fmt: skip
def test_every_error_of_the_engine_is_one_of_ours(error: Any, kind: type) -> None:
    _, stream = feed(PLAIN, sse_event({"error": error}))
    assert type(stream.error) is kind


@pytest.mark.parametrize(
    "broken", [b'data: {"usage":\n\n', b'data: ["usage":1]\n\n', b'data: {"error":]\n\n']
)
def test_what_cannot_be_read_is_an_error(broken: bytes) -> None:
    _, stream = feed(PLAIN, broken)
    assert isinstance(stream.error, EngineError)


def test_an_event_without_end_is_not_kept_forever() -> None:
    stream = StreamFilter(PLAIN)
    for _ in range(16):
        assert stream.feed(b"x" * (MAX_EVENT // 16)) == b""
    with pytest.raises(EngineError, match="without end"):
        stream.feed(b"x")


def test_alternatives_that_were_not_asked_for_are_dropped() -> None:
    made = recording("logprobs")
    out, _ = feed(made.streamed(), made.sse)
    entries = logprobs(out)
    assert entries
    assert all(one["top_logprobs"] == [] for one in entries)
    assert [one["token"] for one in entries] == [one["token"] for one in logprobs(made.sse)]


def logprobs(stream: bytes) -> list[dict[str, Any]]:
    choices = [choice for one in events(stream)[:-1] for choice in one["choices"]]
    return [
        entry for choice in choices for entry in (choice.get("logprobs") or {}).get("content", [])
    ]


@pytest.mark.parametrize("name", ["completion_logprobs", "completion_two"])
def test_log_probabilities_of_completions_have_the_legacy_shape(name: str) -> None:
    made: Recording = recording(name)
    out, _ = feed(made.streamed(), made.sse)
    offsets: dict[int, int] = {}
    seen = 0
    for event in events(out)[:-1]:
        for choice in event["choices"]:
            shape = choice["logprobs"]
            if shape is None:
                continue
            assert set(shape) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
            assert len(shape["tokens"]) == len(shape["token_logprobs"])
            for token, offset in zip(shape["tokens"], shape["text_offset"], strict=True):
                assert offset == offsets.get(choice["index"], 0)
                offsets[choice["index"]] = offset + len(token)
                seen += 1
            if made.client["logprobs"] == 0:
                assert shape["top_logprobs"] is None
            else:
                assert all(len(one) <= 2 for one in shape["top_logprobs"])
    assert seen >= 3


def test_what_sse_error_and_comment_write() -> None:
    error = EngineError("It broke", why="no reason", next_step="Try again")
    written = sse_error(error)
    assert orjson.loads(written.removeprefix(b"data: ")) == error.openai_body()
    assert written.endswith(b"\n\n")
    assert sse_comment("loading 42 %") == b": loading 42 %\n\n"
    assert sse_comment("two\nlines\r\n\r\ndata: x") == b": two lines data: x\n\n"


def test_an_ordinary_chunk_costs_little() -> None:
    """The target is 2 microseconds; the bound is wide enough for a busy machine."""
    stream = StreamFilter(PLAIN)
    ordinary = chunk({"content": " hello"}, id="chatcmpl-" + "x" * 32, model="demo")
    rounds = 20_000
    best = min(timeit.repeat(lambda: stream.feed(ordinary), number=rounds, repeat=5)) / rounds
    assert best < 10e-6
