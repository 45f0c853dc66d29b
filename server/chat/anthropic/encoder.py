"""Events -> what a client of Anthropic's Messages API gets: its stream, or one whole message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from server.chat.anthropic.blocks import Blocks, Json
from server.chat.events import Event
from server.chat.request import ChatRequest
from server.errors import HoldfastError, ProviderError

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
"""What keeps a waiting connection alive; clients skip it wherever it comes."""


class MessagesEncoder:
    """feed(events) -> whole events of the stream; see relay.Encoder.

    `prompt_tokens` is what is told of the prompt at the beginning where the target does so only at
    the end.
    """

    def __init__(self, request: ChatRequest, request_id: str, prompt_tokens: int = 0) -> None:
        self._request_id = request_id
        self._blocks = Blocks(request.model, _message_id(request_id), prompt_tokens)

    def feed(self, events: Sequence[Event]) -> bytes:
        return b"".join(_sse(one) for event in events for one in self._blocks.feed(event))

    def error(self, error: HoldfastError) -> bytes:
        return _sse(error.anthropic_body(self._request_id))


class WholeMessage:
    """Events in, in as many batches as they come; `body` once they have ended."""

    def __init__(self, request: ChatRequest, request_id: str) -> None:
        self._blocks = Blocks(request.model, _message_id(request_id), 0)
        self._message: Json = {}
        self._words: dict[tuple[int, str], list[str]] = {}
        """Of a block's field, piece by piece; joined once they are whole."""

    def feed(self, events: Iterable[Event]) -> None:
        for event in events:
            for one in self._blocks.feed(event):
                self._take(one)

    def body(self) -> bytes:
        """Raises ProviderError for a call whose arguments are not an object."""
        content = self._message.setdefault("content", [])
        for (index, key), pieces in self._words.items():
            words = "".join(pieces)
            content[index][key] = _object(words) if key == "input" else words
        return orjson.dumps(self._message)

    def _take(self, event: Json) -> None:
        kind = event["type"]
        if kind == "message_start":
            self._message = event["message"]
        elif kind == "content_block_start":
            self._message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            self._take_delta(event["index"], event["delta"])
        elif kind == "message_delta":
            self._message |= {**event["delta"], "usage": event["usage"]}

    def _take_delta(self, index: int, delta: Json) -> None:
        kind = delta["type"].removesuffix("_delta")
        key, said = ("input", "partial_json") if kind == "input_json" else (kind, kind)
        self._words.setdefault((index, key), []).append(delta[said])


def _object(text: str) -> Any:
    """The arguments as they were written: number for number, key for key."""
    try:
        if type(orjson.loads(text or "{}")) is dict:
            return orjson.Fragment(text or "{}")
    except orjson.JSONDecodeError:
        pass
    raise ProviderError("The arguments of a call are not a JSON object", next_step="Try again")


def _message_id(request_id: str) -> str:
    return f"msg_{request_id}"


def _sse(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
