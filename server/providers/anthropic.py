"""Anthropic's Messages API as a CloudProtocol; the provider's URL ends before `/v1`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.relay import Decoder
from server.chat.request import ChatRequest
from server.errors import HoldfastError
from server.providers.anthropic_body import anthropic_body
from server.providers.anthropic_error import failure
from server.providers.anthropic_stream import (
    AnthropicDecoder,
    finished,
    thinking_detail,
    unreadable,
    usage_of,
)
from server.providers.provider import Call
from server.providers.quota import Quota, anthropic_quota

VERSION = "2026-10-21"
VERSION_WITH_SAMPLING = "2023-06-01"
"""The last that takes `temperature`, `top_p` and `top_k`."""
_INTERLEAVED = "interleaved-thinking-2025-05-14"


class Anthropic:
    def authentication(self, key: str) -> Mapping[str, str]:
        return {"x-api-key": key}

    def encode(self, request: ChatRequest, model: CloudModel) -> Call:
        body = anthropic_body(request, model)
        sampled = not body.keys().isdisjoint(("temperature", "top_p", "top_k"))
        headers = {"anthropic-version": VERSION_WITH_SAMPLING if sampled else VERSION}
        if "budget_tokens" in body.get("thinking", {}) and "tools" in body:
            headers["anthropic-beta"] = _INTERLEAVED  # others think between calls unasked
        return Call("/v1/messages", orjson.dumps(body), headers)

    def decoder(self, request: ChatRequest) -> Decoder:
        return AnthropicDecoder()

    def decode(self, body: bytes, request: ChatRequest) -> list[Event]:
        try:
            return list(_events(orjson.loads(body)))
        except (ValueError, TypeError, LookupError, AttributeError):
            raise unreadable() from None

    def quota(self, headers: Mapping[str, str]) -> Quota:
        return anthropic_quota(headers)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
        return failure(status, headers, body)


def _events(message: dict[str, Any]) -> Iterator[Event]:
    yield Began(message["id"], message["model"])
    calls = written = 0
    for index, block in enumerate(message["content"]):
        kind = block["type"]
        if kind == "text":
            written += len(block["text"])
            yield Text(block["text"])
        elif kind == "tool_use":
            yield CallBegan(calls, block["id"], block["name"])
            yield Arguments(calls, orjson.dumps(block["input"]).decode())
            calls += 1
        elif kind in ("thinking", "redacted_thinking"):
            if block.get("thinking"):
                yield Thinking(block["thinking"])
            yield ThinkingDetail(thinking_detail(block, message["model"], index, written))
    yield from finished(message)
    yield Used(usage_of(message["usage"]))
    yield Ended()


PROTOCOL = Anthropic()
