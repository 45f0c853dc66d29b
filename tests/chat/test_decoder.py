"""Words that come in the same packet as an error are told before it."""

from __future__ import annotations

import orjson
import pytest

from server.chat.chunk_decoder import ChunkDecoder
from server.chat.chunk_encoder import ChunkEncoder
from server.chat.events import Text
from server.chat.relay import Decoder, Translation
from server.chat.request import parse_chat
from server.errors import HoldfastError
from server.providers import PROTOCOLS
from server.routing.tally import Tally

REQUEST = parse_chat(
    {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
)
WORDS: dict[str, list[object]] = {
    "openai": [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}],
    "openai-responses": [
        {"type": "response.output_item.added", "output_index": 0,
         "item": {"type": "message", "id": "i", "content": []}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "Hel"},
    ],
    "anthropic": [
        {"type": "message_start", "message": {
            "id": "i", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "Hel"}},
    ],
    "gemini": [{"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]}],
}  # fmt: skip
ERRORS: dict[str, object] = {
    "openai": {"error": {"message": "Down", "code": "server_error"}},
    "openai-responses": {"type": "error", "code": "server_error", "message": "Down"},
    "anthropic": {"type": "error", "error": {"type": "api_error", "message": "Down"}},
    "gemini": {"error": {"code": 500, "message": "Down", "status": "INTERNAL"}},
}
KINDS = ("engine", *ERRORS)


def decoder(kind: str) -> Decoder:
    return ChunkDecoder() if kind == "engine" else PROTOCOLS[kind].decoder(REQUEST)  # type: ignore[index]


def packet(kind: str, *, unreadable: bool = False) -> bytes:
    """Words, and an error right after them."""
    kind = "openai" if kind == "engine" else kind
    *words, last = [*WORDS[kind], ERRORS[kind]]
    sent = [b"data: " + orjson.dumps(one) + b"\n\n" for one in words]
    return b"".join(sent) + (
        b"data: {]\n\n" if unreadable else b"data: %b\n\n" % orjson.dumps(last)
    )


@pytest.mark.parametrize("unreadable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_error_has_what_was_said_before_it(kind: str, unreadable: bool) -> None:
    with pytest.raises(HoldfastError) as caught:
        decoder(kind).feed(packet(kind, unreadable=unreadable))
    assert Text("Hel") in caught.value.said


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_are_given_to_the_client_before_the_error(kind: str) -> None:
    tally = Tally(decoder(kind))
    relay = Translation(tally, ChunkEncoder(REQUEST, 0))
    assert b'"content":"Hel"' in relay.feed(packet(kind))
    assert relay.broken is not None
    assert relay.spoke
    assert (tally.spoke, tally.counted) == (True, 1)  # what was said is charged


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_alone_is_the_callers_to_tell(kind: str) -> None:
    relay = Translation(decoder(kind), ChunkEncoder(REQUEST, 0))
    assert relay.feed(b"") == b""
    alone = ERRORS["openai" if kind == "engine" else kind]
    with pytest.raises(HoldfastError) as caught:
        relay.feed(b"data: " + orjson.dumps(alone) + b"\n\n")
    assert not caught.value.said
    assert relay.broken is None
