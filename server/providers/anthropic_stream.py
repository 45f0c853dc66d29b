"""Anthropic's stream, and its whole answer -> events.

https://platform.claude.com/docs/en/build-with-claude/streaming. Kinds of events, blocks and deltas
that are not known are passed over, as its versioning policy asks of clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from server.chat.decoder import StreamDecoder
from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    FinishReason,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.sse_reader import SseReader
from server.chat.usage import Usage
from server.errors import ProviderError
from server.providers.anthropic_error import error_of
from server.providers.anthropic_turns import FORMAT

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",  # of tools that run at Anthropic, which are never offered
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicDecoder(StreamDecoder):
    def __init__(self) -> None:
        self._reader = SseReader()
        self._usage: dict[str, Any] = {}
        self._model = ""
        self._blocks: dict[int, dict[str, Any]] = {}
        """Open ones of thinking and calls."""
        self._calls = 0
        self._text = 0
        """Characters of text so far."""
        self._ended = False

    def _feed(self, chunk: bytes, events: list[Event]) -> None:
        for sent in self._reader.feed(chunk):
            if self._ended:
                break
            try:
                events += self._read(orjson.loads(sent.data))
            except (ValueError, TypeError, LookupError, AttributeError):
                raise unreadable() from None

    def _read(self, data: dict[str, Any]) -> Iterator[Event]:
        kind = data["type"]
        if kind == "content_block_delta":
            yield from self._delta(data["index"], data["delta"])
        elif kind == "content_block_start":
            yield from self._start(data["index"], data["content_block"])
        elif kind == "content_block_stop":
            yield from self._stop(data["index"])
        elif kind == "message_start":
            message = data["message"]
            self._model = message["model"]
            yield Began(message["id"], self._model)
            yield from self._used(message["usage"])
        elif kind == "message_delta":
            yield from self._used(data.get("usage") or {})
            if data["delta"].get("stop_reason"):
                yield from finished(data["delta"])
        elif kind == "message_stop":
            self._ended = True
            yield Ended()
        elif kind == "error":
            raise error_of(data["error"], None, {})

    def _start(self, index: int, block: dict[str, Any]) -> Iterator[Event]:
        kind = block["type"]
        if kind == "text" and block["text"]:
            yield self._say(block["text"])
        elif kind == "tool_use":
            self._blocks[index] = {"type": kind, "call": self._calls, "input": block.get("input")}
            yield CallBegan(self._calls, block["id"], block["name"])
            self._calls += 1
        elif kind in ("thinking", "redacted_thinking"):
            self._blocks[index] = {"signature": "", **block, "at": self._text}
            if block.get("thinking"):
                yield Thinking(block["thinking"])

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[Event]:
        kind = delta["type"]
        if kind == "text_delta":
            yield self._say(delta["text"])
        elif kind == "input_json_delta" and index in self._blocks:
            block = self._blocks[index]
            if delta["partial_json"]:
                block["input"] = None  # it comes in pieces
                yield Arguments(block["call"], delta["partial_json"])
        elif kind == "thinking_delta":
            self._blocks[index]["thinking"] += delta["thinking"]
            yield Thinking(delta["thinking"])
        elif kind == "signature_delta":
            self._blocks[index]["signature"] += delta["signature"]

    def _stop(self, index: int) -> Iterator[Event]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block["type"] == "tool_use":
            if block["input"] is not None:
                yield Arguments(block["call"], orjson.dumps(block["input"]).decode())
            return
        yield ThinkingDetail(thinking_detail(block, self._model, index, block["at"]))

    def _say(self, text: str) -> Text:
        self._text += len(text)
        return Text(text)

    def _used(self, usage: dict[str, Any]) -> Iterator[Event]:
        """Counts are of all so far, and those that have not changed may be absent."""
        self._usage |= {key: value for key, value in usage.items() if value is not None}
        yield Used(usage_of(self._usage))


def thinking_detail(block: dict[str, Any], model: str, index: int, at: int) -> dict[str, Any]:
    """See reasoning_details.py; `model` as the answer calls it."""
    place = {"format": FORMAT, "model": model, "index": index, "at": at}
    if block["type"] == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": block["data"], **place}
    said = {"text": block["thinking"], "signature": block["signature"]}
    return {"type": "reasoning.text", **said, **place}


def finished(delta: dict[str, Any]) -> Iterator[Event]:
    """What ended the answer; a refusal's explanation first, where there is one."""
    reason = _REASONS.get(delta["stop_reason"], "stop")
    details = delta.get("stop_details") or {}
    if reason == "content_filter" and details.get("explanation"):
        yield Refusal(details["explanation"])
    yield Finished(reason, stop=delta.get("stop_sequence"))


def usage_of(usage: dict[str, Any]) -> Usage:
    """Anthropic's `input_tokens` are those that were neither read from a cache nor written."""
    read = usage.get("cache_read_input_tokens", 0)
    written = usage.get("cache_creation_input_tokens", 0)
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    return Usage(
        prompt_tokens=usage["input_tokens"] + read + written,
        completion_tokens=usage["output_tokens"],
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
    )


def unreadable() -> ProviderError:
    return ProviderError(
        "The provider's answer cannot be read",
        why="it is not as Anthropic's Messages API has it",
        next_step="Try again",
    )
