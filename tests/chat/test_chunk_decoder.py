from __future__ import annotations

from typing import Any

import orjson
import pytest

from server.catalogue.cloud import Price, Rate
from server.chat.answer import answer_of
from server.chat.chunk_decoder import ChunkDecoder
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
from server.chat.fold import fold_stream
from server.chat.logprobs import read_logprobs
from server.chat.sse import DONE, sse_event
from server.chat.usage import Usage
from server.errors import ContextExceeded, EngineError, ProviderBusy, ProviderError
from server.ledger.cost import cost
from server.units import USD
from tests.chat.recorded import NAMES, Recording, recording

CHATS = [name for name in NAMES if "messages" in recording(name).client]
every_chat = pytest.mark.parametrize("name", CHATS)


def busy(error: Any) -> ProviderBusy:
    return ProviderBusy(f"it said {error}")


def cloud() -> ChunkDecoder:
    return ChunkDecoder(busy, ProviderError)


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "a", "model": "m", "choices": [{"index": 0, "delta": delta, **more}]}


def read(*chunks: dict[str, Any]) -> list[Event]:
    """What a cloud's chunks say, without the ceremony around it."""
    began, *events, ended = cloud().feed(b"".join([sse_event(one) for one in chunks]) + DONE)
    assert began == Began("a", "m")
    assert ended == Ended()
    return events


@every_chat
def test_the_network_may_cut_a_stream_anywhere(name: str) -> None:
    made = recording(name)
    whole = ChunkDecoder().feed(made.sse)
    assert whole[-1] == Ended()
    for at in range(1, len(made.sse), 3):
        decoder = ChunkDecoder()
        assert decoder.feed(made.sse[:at]) + decoder.feed(made.sse[at:]) == whole
    decoder = ChunkDecoder()
    single = [one for at in range(len(made.sse)) for one in decoder.feed(made.sse[at : at + 1])]
    assert single == whole


@every_chat
def test_it_says_what_the_engine_said(name: str) -> None:
    made: Recording = recording(name)
    answer = answer_of(ChunkDecoder().feed(made.sse))
    folded = fold_stream(made.sse)
    assert answer.ended
    assert (answer.id, answer.model) == (folded["id"], folded["model"])
    assert answer.usage is not None
    assert answer.usage.as_json() == folded["usage"]
    assert sorted(answer.choices) == [one["index"] for one in folded["choices"]]
    for wanted in folded["choices"]:
        choice, message = answer.choices[wanted["index"]], wanted["message"]
        assert choice.text == message["content"]
        assert choice.thinking == message.get("reasoning_content", "")
        assert choice.reason == wanted["finish_reason"]
        assert choice.logprobs == read_logprobs((wanted["logprobs"] or {}).get("content", []))
        assert [(one.id, one.name, one.arguments) for one in choice.calls] == [
            (one["id"], one["function"]["name"], one["function"]["arguments"])
            for one in message.get("tool_calls", [])
        ]


@every_chat
def test_a_whole_answer_says_the_same(name: str) -> None:
    made = recording(name)
    if made.json is None:
        return
    whole, streamed = (
        answer_of(events).choices
        for events in (ChunkDecoder().decode(made.json), ChunkDecoder().feed(made.sse))
    )
    for choices in (whole, streamed):
        for call in choices[0].calls:
            call.id = ""  # the engine's are random
    assert whole == streamed


DETAIL = {"type": "reasoning.encrypted", "format": "gemini", "data": "x", "index": 3}
SAID: list[tuple[str, list[dict[str, Any]], list[Event]]] = [
    ("nothing", [chunk({"role": "assistant", "content": ""}), chunk({}), {"choices": []}], []),
    ("text", [chunk({"content": "a"}), chunk({"content": None})], [Text("a")]),
    ("thinking as DeepSeek", [chunk({"reasoning_content": "a"})], [Thinking("a")]),
    ("thinking as vLLM", [chunk({"reasoning": "a", "content": None})], [Thinking("a")]),
    ("both", [chunk({"reasoning": "a", "reasoning_content": "a"})], [Thinking("a")]),
    ("the answer's blanks stay", [chunk({"reasoning": "a"}), chunk({"content": "\n\nb"})],
     [Thinking("a"), Text("\n\nb")]),
    ("Mistral's parts",
     [chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]},
                         {"type": "text", "text": "b"}, {"type": "reference"}]})],
     [Thinking("a"), Text("b")]),
    ("details", [chunk({"reasoning_details": [DETAIL, {"format": "xai"}]})],
     [ThinkingDetail(DETAIL)]),
    ("refusal", [chunk({"refusal": "no"})], [Refusal("no")]),
    ("several choices", [chunk({"content": "a"}, index=1), chunk({"content": "b"}, index=0)],
     [Text("a", 1), Text("b")]),
    ("logprobs",
     [chunk({"content": "é"}, logprobs={"content": [{"token": "é", "logprob": -1, "id": 7}]})],
     [Text("é"), Logprobs(
         [{"token": "é", "logprob": -1, "bytes": [195, 169], "top_logprobs": []}])]),
    ("a reason", [chunk({}, finish_reason="length")], [Finished("length")]),
    ("an old reason", [chunk({}, finish_reason="function_call")], [Finished("tool_calls")]),
    ("a new reason", [chunk({}, finish_reason="bored")], [Finished("stop")]),
    ("a filter", [chunk({}, finish_reason="content_filter")], [Finished("content_filter")]),
    ("a stop sequence", [chunk({}, finish_reason="stop", stop_reason="END")],
     [Finished("stop", stop="END")]),
    ("a stop token", [chunk({}, finish_reason="stop", stop_reason=7)], [Finished("stop")]),
]  # fmt: skip


@pytest.mark.parametrize(("chunks", "events"), [row[1:] for row in SAID], ids=[r[0] for r in SAID])
def test_what_a_chunk_says(chunks: list[dict[str, Any]], events: list[Event]) -> None:
    assert read(*chunks) == events


def calls(*parts: dict[str, Any]) -> list[Event]:
    return read(*(chunk({"tool_calls": [part]}) for part in parts))


def part(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {"function": {**named, "arguments": arguments}, **more}


CALLED: list[tuple[str, list[dict[str, Any]], list[Event]]] = [
    ("OpenAI",
     [part("f", "", index=0, id="x"), part(None, "{", index=0), part(None, "}", index=0),
      part("g", "", index=1, id="y"), part(None, "{}", index=1)],
     [CallBegan(0, "x", "f"), Arguments(0, "{"), Arguments(0, "}"),
      CallBegan(1, "y", "g"), Arguments(1, "{}")]),
    ("interleaved",
     [part("f", "", index=0, id="x"), part("g", "", index=1, id="y"), part(None, "{}", index=0)],
     [CallBegan(0, "x", "f"), CallBegan(1, "y", "g"), Arguments(0, "{}")]),
    ("id and name repeated",
     [part("f", "{", index=0, id="x"), part("f", "}", index=0, id="x")],
     [CallBegan(0, "x", "f"), Arguments(0, "{"), Arguments(0, "}")]),
    ("each is number 0",
     [part("f", "{}", index=0, id="x"), part("g", "{}", index=0, id="y")],
     [CallBegan(0, "x", "f"), Arguments(0, "{}"), CallBegan(1, "y", "g"), Arguments(1, "{}")]),
    ("no number",
     [part("f", "{", id="x"), part(None, "}"), part("g", "{}", id="y")],
     [CallBegan(0, "x", "f"), Arguments(0, "{"), Arguments(0, "}"),
      CallBegan(1, "y", "g"), Arguments(1, "{}")]),
    ("no id", [part("f", "{}", index=0)], [CallBegan(0, "call_0_0", "f"), Arguments(0, "{}")]),
    ("counted from 1",
     [part("f", "{", index=1, id="x"), part(None, "}", index=1)],
     [CallBegan(0, "x", "f"), Arguments(0, "{"), Arguments(0, "}")]),
    ("arguments as an object", [part("f", {"a": 1}, index=0, id="x")],
     [CallBegan(0, "x", "f"), Arguments(0, '{"a":1}')]),
    ("no arguments", [part("f", None, index=0, id="x")], [CallBegan(0, "x", "f")]),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "events"), [r[1:] for r in CALLED], ids=[r[0] for r in CALLED])
def test_calls(parts: list[dict[str, Any]], events: list[Event]) -> None:
    assert calls(*parts) == events


def test_a_forced_call_is_the_reason() -> None:
    called = chunk({"tool_calls": [part("f", "{}", index=0, id="x")]})
    assert read(called, chunk({}, finish_reason="stop"))[-1] == Finished("tool_calls")


def test_the_last_usage_of_a_cloud_counts() -> None:
    counts = [{"prompt_tokens": 5, "completion_tokens": n} for n in (1, 2)]
    events = read(*({**chunk({}), "usage": one} for one in counts))
    assert events == [Used(Usage(5, 1)), Used(Usage(5, 2))]


def test_thinking_that_is_counted_beside_the_completion_is_paid_for() -> None:
    """As xAI counts it: only the total has all of it."""
    told = {"prompt_tokens": 14, "completion_tokens": 1, "total_tokens": 401,
            "completion_tokens_details": {"reasoning_tokens": 386}}  # fmt: skip
    (used,) = read({**chunk({}), "usage": told})
    assert used == Used(Usage(14, 387, reasoning_tokens=386))
    assert isinstance(used, Used)
    assert cost(Price(Rate(3 * USD, 15 * USD)), used.usage) == (14 * 3 + 387 * 15) * 1000


def test_what_vllm_leaves_between_thinking_and_answer_is_cut() -> None:
    sent = [chunk({"reasoning": "a"}), chunk({"content": "\n\n"}), chunk({"content": "\nb"})]
    events = ChunkDecoder().feed(b"".join([sse_event(one) for one in sent]))
    assert events[1:] == [Thinking("a"), Text("b")]


def test_what_follows_the_end_is_dropped() -> None:
    decoder = cloud()
    assert decoder.feed(DONE + sse_event(chunk({"content": "a"}))) == [Ended()]
    assert decoder.feed(sse_event(chunk({"content": "a"})) + b"data: {\n\n") == []


def test_comments_and_crlf() -> None:
    stream = b": PROCESSING\r\n\r\ndata: " + orjson.dumps(chunk({"content": "a"})) + b"\r\n\r\n"
    assert cloud().feed(stream + b"data: [DONE]\r\n\r\n")[1:] == [Text("a"), Ended()]


@pytest.mark.parametrize(
    "stream",
    [
        sse_event({"error": {"message": "x"}}),
        sse_event({"error": "x"}),
        b"event: error\n" + sse_event({"message": "x"}),
        sse_event(chunk({}, finish_reason="error")),
        sse_event(chunk({}, finish_reason="insufficient_system_resource")),
    ],
)
def test_an_error_in_the_stream_is_raised(stream: bytes) -> None:
    with pytest.raises(ProviderBusy, match="it said"):
        cloud().feed(sse_event(chunk({"content": "a"})) + stream)


def test_an_engines_error_is_what_it_is_elsewhere() -> None:
    error = {"code": 400, "type": "exceed_context_size_error", "n_ctx": 8, "n_prompt_tokens": 9}
    with pytest.raises(ContextExceeded, match="8 tokens"):
        ChunkDecoder().feed(sse_event({"error": error}))


UNREADABLE: list[bytes] = [
    b"{",
    b"[]",
    b"1",
    b"",
    b'{"choices":1}',
    b'{"choices":[1]}',
    b'{"choices":[{"delta":"x"}]}',
    b'{"choices":[{"delta":{"content":1}}]}',
    b'{"choices":[{"delta":{"content":[{}]}}]}',
    b'{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}',
    b'{"choices":[{"index":"a","delta":{"content":"a"}}]}',
    b'{"choices":[{"delta":{},"logprobs":{"content":5}}]}',
    b'{"choices":[{"delta":{},"logprobs":{"content":[{"token":1,"logprob":1}]}}]}',
    b'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":1}}]}}]}',
]


@pytest.mark.parametrize("data", UNREADABLE)
@pytest.mark.parametrize(
    ("decoder", "error"), [(ChunkDecoder, EngineError), (cloud, ProviderError)]
)
def test_what_cannot_be_read_is_the_targets_fault(data: bytes, decoder: Any, error: type) -> None:
    with pytest.raises(error, match="cannot be read"):
        decoder().feed(b"data: " + data + b"\n\n")
    with pytest.raises(error, match="cannot be read"):
        decoder().decode(data)


def test_a_whole_answer_of_a_cloud_may_be_an_error() -> None:
    with pytest.raises(ProviderBusy):
        cloud().decode(b'{"error":{"message":"x"}}')
    with pytest.raises(ProviderError, match="cannot be read"):
        cloud().decode(b'{"choices":[]}')
