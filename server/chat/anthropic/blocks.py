"""Events -> Anthropic's events, as plain objects: block after block, each closed before the next.

- Nothing begins before something is said, so that an answer that breaks before leaves no trace.
- A refusal's words stand in `stop_details.explanation`, and the reason is `refusal`.
- What a provider wants back is in signatures and `redacted_thinking` blocks; see opaque.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.chat.anthropic.opaque import data_of, signature_of
from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.usage import Usage
from server.errors import ProviderError

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

Json = dict[str, Any]


class Blocks:
    """`model` and `identifier` are the answer's where the target does not say its own;
    `prompt_tokens` is what the prompt is thought to have until the target says it."""

    def __init__(self, model: str, identifier: str, prompt_tokens: int) -> None:
        self._model = model
        self._id = identifier
        self._usage = Usage(prompt_tokens, 0)
        self._begun = False
        self._index = -1
        """Of the latest block."""
        self._open = ""
        """The kind of the block that is open: text, thinking, tool_use or none."""
        self._call = -1
        """The latest call; -1: none was made."""
        self._finished: Finished | None = None
        self._refusal: list[str] = []

    def feed(self, event: Event) -> Iterator[Json]:
        """Raises ProviderError for arguments of a call after another has begun."""
        match event:
            case Text():
                yield from self._within("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": event.text})
            case Arguments():
                if self._open != "tool_use" or event.index != self._call:
                    raise ProviderError("The answer mixes the arguments of two calls")
                yield self._delta({"type": "input_json_delta", "partial_json": event.text})
            case Thinking():
                yield from self._within("thinking", _THOUGHT)
                yield self._delta({"type": "thinking_delta", "thinking": event.text})
            case ThinkingDetail():
                yield from self._detail(event.detail)
            case CallBegan():
                self._call = event.index
                block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
                yield from self._begin(block)
            case Began():
                self._model = event.model or self._model
                self._id = event.id if event.id.startswith("msg_") else self._id
            case Used():
                self._usage = event.usage
            case Refusal():
                self._refusal.append(event.text)
            case Finished():
                self._finished = event
            case Ended():
                yield from self._end()

    def start(self) -> Json:
        """The `message_start` event, which comes before all others."""
        self._begun = True
        message: Json = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage_of(self._usage),
        }
        return {"type": "message_start", "message": message}

    def _detail(self, detail: Mapping[str, Any]) -> Iterator[Json]:
        if detail["format"] == "anthropic" and detail["type"] == "reasoning.text":
            yield from self._within("thinking", _THOUGHT)
            yield self._delta({"type": "signature_delta", "signature": signature_of(detail)})
        else:
            yield from self._begin({"type": "redacted_thinking", "data": data_of(detail)})
        yield from self._close()

    def _within(self, kind: str, block: Json) -> Iterator[Json]:
        if self._open != kind:
            yield from self._begin(block)

    def _begin(self, block: Json) -> Iterator[Json]:
        yield from self._close()
        if not self._begun:
            yield self.start()
        self._index += 1
        self._open = block["type"]
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Iterator[Json]:
        if self._open:
            self._open = ""
            yield {"type": "content_block_stop", "index": self._index}

    def _end(self) -> Iterator[Json]:
        yield from self._close()
        if not self._begun:
            yield self.start()
        finished = self._finished or Finished("stop")
        reason, refusal = _REASONS[finished.reason], "".join(self._refusal)
        if refusal:
            reason = "refusal"
        elif finished.reason == "stop" and self._call >= 0:
            reason = "tool_use"  # vLLM says "stop" of a call that was forced
        elif finished.stop is not None:
            reason = "stop_sequence"
        details = None
        if reason == "refusal":
            details = {"type": "refusal", "category": None, "explanation": refusal or None}
        delta = {"stop_reason": reason, "stop_sequence": finished.stop, "stop_details": details}
        yield {"type": "message_delta", "delta": delta, "usage": usage_of(self._usage)}
        yield {"type": "message_stop"}


_THOUGHT = {"type": "thinking", "thinking": "", "signature": ""}


def usage_of(usage: Usage) -> Json:
    """Anthropic's `input_tokens` are those that were neither read from a cache nor written."""
    told: Json = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told
