"""Gemini's stream, and its whole answer -> events.

A stream is a sequence of answers, each with what is new. It has no mark of its end: it has ended
once every choice has said why it did.
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
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.sse_reader import SseReader
from server.chat.usage import Usage
from server.errors import ProviderError
from server.providers.gemini_error import error_of
from server.providers.gemini_turns import FORMAT

_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # more would come if it was asked to go on
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "ESCALATION": "content_filter",
}
"""Others mean that the answer is of no use: a call that cannot be read, a signature that lacks."""


class GeminiDecoder(StreamDecoder):
    """`choices`: how many were asked for."""

    def __init__(self, choices: int) -> None:
        self._reader = SseReader()
        self._waited = choices
        self._id = ""
        self._model = ""
        self._begun = False
        self._parts: dict[int, int] = {}
        """By choice: how many parts have come."""
        self._calls: dict[int, int] = {}
        self._ended = False

    def _feed(self, chunk: bytes, events: list[Event]) -> None:
        for sent in self._reader.feed(chunk):
            if self._ended:
                break
            try:
                events += self.read(orjson.loads(sent.data))
            except (ValueError, TypeError, LookupError, AttributeError):
                raise unreadable() from None

    def read(self, data: dict[str, Any]) -> Iterator[Event]:
        """One answer, of a stream or whole."""
        if "error" in data:
            raise error_of(data["error"], {})
        if not self._begun:
            self._begun = True
            self._id = data.get("responseId", "")
            self._model = data.get("modelVersion", "")
            yield Began(self._id, self._model)
        if "usageMetadata" in data:  # first: an answer that is of no use is paid for as well
            yield Used(usage_of(data["usageMetadata"]))
        for candidate in data.get("candidates", ()):
            yield from self._candidate(candidate)
        if data.get("promptFeedback", {}).get("blockReason"):
            self._waited = 0
            yield Finished("content_filter")
        if self._waited <= 0:
            self._ended = True
            yield Ended()

    def _candidate(self, candidate: dict[str, Any]) -> Iterator[Event]:
        choice = candidate.get("index", 0)
        for part in candidate.get("content", {}).get("parts", ()):
            yield from self._part(part, choice)
        reason = candidate.get("finishReason", "FINISH_REASON_UNSPECIFIED")
        if reason == "FINISH_REASON_UNSPECIFIED":
            return
        if reason not in _REASONS:
            raise ProviderError(
                "The provider gave up its answer",
                why=f"Gemini ended it with {reason[:64]}",
                next_step="Try again",
            )
        self._waited -= 1
        called = self._calls.get(choice, 0) and reason == "STOP"
        yield Finished("tool_calls" if called else _REASONS[reason], choice)

    def _part(self, part: dict[str, Any], choice: int) -> Iterator[Event]:
        number = self._parts.get(choice, 0)
        self._parts[choice] = number + 1
        call = part.get("functionCall")
        index = self._calls.get(choice, 0)
        detail: dict[str, Any] = {"type": "reasoning.encrypted", "format": FORMAT, "index": number}
        if self._model:
            detail["model"] = self._model
        if call is not None:
            detail["id"] = call.get("id") or f"call_{self._id}_{choice}_{index}"
        if "thoughtSignature" in part:
            yield ThinkingDetail({**detail, "data": part["thoughtSignature"]}, choice)
        if call is not None:
            self._calls[choice] = index + 1
            yield CallBegan(index, detail["id"], call["name"], choice)
            yield Arguments(index, orjson.dumps(call.get("args") or {}).decode(), choice)
        elif part.get("text"):
            yield (Thinking if part.get("thought") else Text)(part["text"], choice)


def usage_of(usage: dict[str, Any]) -> Usage:
    thought = usage.get("thoughtsTokenCount", 0)
    return Usage(
        prompt_tokens=usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0),
        completion_tokens=usage.get("candidatesTokenCount", 0) + thought,
        cached_tokens=usage.get("cachedContentTokenCount", 0),
        reasoning_tokens=thought,
    )


def unreadable() -> ProviderError:
    return ProviderError(
        "The provider's answer cannot be read",
        why="it is not as Gemini's API has it",
        next_step="Try again",
    )
