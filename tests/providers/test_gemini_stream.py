from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai.types import GenerateContentResponse

from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.usage import Usage
from server.errors import ProviderBusy, ProviderError
from server.ledger.cost import cost
from server.providers.gemini import PROTOCOL
from server.routing.ledgering import bill
from server.routing.tally import Tally
from server.units import USD
from tests.providers.clouds import MODEL, ask

USAGE = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 30,
    "cachedContentTokenCount": 60,
    "totalTokenCount": 150,
}


def answer(*parts: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if reason is not None:
        candidate["finishReason"] = reason
    return {
        "responseId": "r1",
        "modelVersion": "gemini-x",
        "candidates": [candidate],
        "usageMetadata": USAGE,
        **more,
    }


def wire(*answers: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % orjson.dumps(one) for one in answers)


def decode(*chunks: bytes, **fields: Any) -> list[Event]:
    decoder = PROTOCOL.decoder(ask(**fields))
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def said(events: list[Event]) -> list[Event]:
    return [one for one in events if not isinstance(one, Used)]


RICH = [
    answer({"text": "Hm, déjà", "thought": True}),
    answer({"text": "Let me "}),
    answer({"text": "see 🌍", "thoughtSignature": "c2ln"}),
    answer(
        {
            "functionCall": {"id": "f1", "name": "weather", "args": {"city": "Köln"}},
            "thoughtSignature": "c2lnMg==",
        },
        {"functionCall": {"name": "time"}},
    ),
    answer({"text": ""}, reason="STOP"),
]
USED = Used(Usage(100, 50, 60, 0, 30))
BY = {"type": "reasoning.encrypted", "format": "gemini", "model": "gemini-x"}
SAID = [
    Began("r1", "gemini-x"),
    Thinking("Hm, déjà"),
    Text("Let me "),
    ThinkingDetail({**BY, "index": 2, "data": "c2ln"}),
    Text("see 🌍"),
    ThinkingDetail({**BY, "index": 3, "id": "f1",
                    "data": "c2lnMg=="}),
    CallBegan(0, "f1", "weather"),
    Arguments(0, '{"city":"Köln"}'),
    CallBegan(1, "call_r1_0_1", "time"),
    Arguments(1, "{}"),
    Finished("tool_calls"),
    Ended(),
]  # fmt: skip


def test_the_streams_here_are_as_the_sdk_knows_them() -> None:
    for one in RICH:
        GenerateContentResponse.model_validate(one)


def test_a_stream_with_everything() -> None:
    events = decode(wire(*RICH))
    assert said(events) == SAID
    assert [one for one in events if isinstance(one, Used)] == [USED] * 5
    assert events[-3:] == [USED, Finished("tool_calls"), Ended()]


def test_wherever_it_is_cut() -> None:
    stream = wire(*RICH)
    for at in range(len(stream) + 1):
        assert said(decode(stream[:at], stream[at:])) == SAID, at
    assert said(decode(*(stream[at : at + 1] for at in range(len(stream))))) == SAID


def test_a_stream_without_a_reason_has_not_ended() -> None:
    assert Ended() not in decode(wire(*RICH[:-1]))


def test_several_choices_end_one_by_one() -> None:
    first, second = answer({"text": "a"}, reason="STOP"), answer({"text": "b"}, reason="STOP")
    second["candidates"][0]["index"] = 1
    events = said(decode(wire(first, second), n=2))
    assert events[1:] == [
        Text("a"),
        Finished("stop"),
        Text("b", 1),
        Finished("stop", 1),
        Ended(),
    ]
    assert Ended() not in decode(wire(first), n=2)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("BLOCKLIST", "content_filter"),
    ],
)
def test_why_it_ended(reason: str, expected: str) -> None:
    events = said(decode(wire(answer({"text": "a"}, reason=reason))))
    assert events[2:] == [Finished(expected), Ended()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reason",
    ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "MISSING_THOUGHT_SIGNATURE"],
)
def test_an_answer_of_no_use_is_an_error(reason: str) -> None:
    with pytest.raises(ProviderError, match=reason):
        decode(wire(answer(reason=reason)))


def test_an_answer_of_no_use_is_paid_for() -> None:
    """What it used, thinking above all, stands beside the reason why it is of no use."""
    tally = Tally(PROTOCOL.decoder(ask()))
    with pytest.raises(ProviderError) as raised:
        tally.feed(wire(answer({"text": "Let me"}, reason="MALFORMED_FUNCTION_CALL")))
    assert raised.value.said == [Began("r1", "gemini-x"), USED, Text("Let me")]
    charged = bill("accepted", tally.usage, tally.ended, tally.counted, 500, MODEL, 10 * USD)
    assert charged.usage == USED.usage
    assert charged.cost == cost(MODEL.price, USED.usage)


def test_a_reason_that_says_nothing_is_none() -> None:
    events = decode(wire(answer({"text": "a"}, reason="FINISH_REASON_UNSPECIFIED")))
    assert not any(isinstance(one, Finished | Ended) for one in events)


def test_a_prompt_that_is_blocked() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 7},
        "modelVersion": "m",
    }
    assert decode(wire(blocked)) == [
        Began("", "m"),
        Used(Usage(7, 0)),
        Finished("content_filter"),
        Ended(),
    ]


def test_a_length_that_cuts_a_call_off_is_a_length() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    assert Finished("length") in decode(wire(answer(call, reason="MAX_TOKENS")))


def test_an_error_in_the_stream() -> None:
    error = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}
    with pytest.raises(ProviderBusy):
        decode(wire(RICH[0], error))


@pytest.mark.parametrize(
    "sent",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b'data: {"candidates": 1}\n\n',
        b'data: {"candidates": [{"content": {"parts": [1]}}]}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}\n\n',
    ],
)
def test_what_cannot_be_read_is_the_providers_error(sent: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        decode(sent)
    with pytest.raises(ProviderError, match="cannot be read"):
        PROTOCOL.decode(sent.removeprefix(b"data: "), ask())


def test_a_whole_answer() -> None:
    parts = [part for one in RICH for part in one["candidates"][0]["content"]["parts"]]
    events = PROTOCOL.decode(orjson.dumps(answer(*parts, reason="STOP")), ask())
    assert said(events) == SAID
    with pytest.raises(ProviderError):
        PROTOCOL.decode(orjson.dumps(answer(*parts)), ask())
