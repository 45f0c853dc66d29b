"""Server-sent events: an engine's stream -> the client's, without I/O.

Bytes are passed on as they come. Opened are only vLLM's events with thinking, up to the first word
of the answer, those with log probabilities that need another shape, and the few with `usage` or
`error`; llama-server's thinking gets its second name by one substitution, unparsed. That is sound
because inside a JSON string a quote is always written `\\"`, so that `"usage":` can only be a key.
"""

from __future__ import annotations

from typing import Any

import orjson

from server.chat.engine_error import error_of
from server.chat.logprobs import chosen_only, make_legacy
from server.chat.request import ChatRequest, CompletionRequest
from server.chat.thinking import VLLM_MARK, Trim, with_both_names
from server.chat.usage import Usage, usage_of
from server.errors import EngineError, HoldfastError

DONE = b"data: [DONE]\n\n"
MAX_EVENT = 16 * 1024 * 1024
"""Bytes that one event may have before its engine counts as broken."""

_END = b"\n\n"
_REASONING = b'"reasoning_content":'


def sse_event(data: Any) -> bytes:
    """One `data:` event carrying `data` as JSON."""
    return b"data: " + orjson.dumps(data) + _END


def sse_error(error: HoldfastError) -> bytes:
    """The event that ends a broken stream. `[DONE]` must never follow it."""
    return sse_event(error.openai_body())


def sse_comment(text: str) -> bytes:
    """A comment, which clients skip, to keep a waiting connection alive."""
    return b": " + " ".join(text.split()).encode() + _END


class StreamFilter:
    """One engine stream on its way to one client.

    feed(bytes of the engine) -> bytes for the client, always whole events: half an event waits
    for its other half, so that an error event can follow at any time. Once `done` or `error` is
    set, what else the engine may send is dropped.
    """

    def __init__(self, request: ChatRequest | CompletionRequest) -> None:
        self.usage: Usage | None = None
        """Of all choices so far; known shortly before `done`."""
        self.done = False
        """The engine ended its stream with [DONE]; a stream that ends without it is broken."""
        self.error: HoldfastError | None = None
        """The engine reported an error; it has been passed on as the last event."""
        self._request = request
        self._legacy = request.logprobs if isinstance(request, CompletionRequest) else None
        self._chosen_only = isinstance(request, ChatRequest) and request.top_logprobs == 0
        self._reshape = self._chosen_only or self._legacy is not None
        self._trim = Trim()
        self._pending = b""
        self._offsets: dict[int, int] = {}
        self._last: dict[str, Any] = {}

    def feed(self, chunk: bytes) -> bytes:
        """Whole events for the client, or nothing yet. Raises EngineError on a boundless event."""
        if self._pending or not chunk.endswith(_END):
            chunk = self._whole(chunk)
        if self.done or self.error is not None:
            return b""
        if chunk.endswith(DONE) or self._is_opened(chunk):
            return b"".join([self._event(event) for event in chunk.split(_END) if event])
        if _REASONING in chunk:
            return with_both_names(chunk)
        return chunk

    def _whole(self, chunk: bytes) -> bytes:
        """The whole events of what was held back and `chunk`, perhaps none; the rest is held back.

        Joining is quadratic where an event comes in many pieces, which MAX_EVENT bounds.
        """
        chunk = self._pending + chunk
        end = chunk.rfind(_END)
        end = end + len(_END) if end >= 0 else 0
        self._pending = chunk[end:]
        if len(self._pending) > MAX_EVENT:
            raise EngineError("The engine sent an event without end", next_step="Try again")
        return chunk[:end]

    def _is_opened(self, events: bytes) -> bool:
        return (
            self._reshape
            or self._trim.active
            or b'"usage":' in events
            or b'"error":' in events
            or VLLM_MARK in events
        )

    def _event(self, event: bytes) -> bytes:
        if self.done or self.error is not None:
            return b""
        if event == DONE[: -len(_END)]:
            self.done = True
            return self._usage_event() + DONE
        if not self._is_opened(event) or not event.startswith(b"data: "):
            return with_both_names(event) + _END
        try:
            data = orjson.loads(event[6:])
        except orjson.JSONDecodeError:
            data = None
        if not isinstance(data, dict):
            data = {"error": {"code": 502}}
        if data.get("error"):
            return self._fail(data["error"])
        return self._answer(data)

    def _fail(self, error: Any) -> bytes:
        code = error.get("code") if isinstance(error, dict) else None
        self.error = error_of(code, error)
        return sse_error(self.error)

    def _answer(self, data: dict[str, Any]) -> bytes:
        """Holds back usage until the end, when that of all choices is known."""
        usage = usage_of(data.pop("usage", None))
        choices = data.get("choices") or []
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.with_choice(usage)
            self._last = {**data, "choices": []}
            data.pop("timings", None)
            if not choices:
                return b""
        for choice in choices:
            self._trim.feed(choice)
            if self._legacy is not None:
                index = choice.get("index", 0)
                offset = self._offsets.get(index, 0)
                self._offsets[index] = make_legacy(choice, self._legacy, offset)
            elif self._chosen_only:
                chosen_only(choice)
        return with_both_names(sse_event(data))

    def _usage_event(self) -> bytes:
        if self.usage is None or not self._request.include_usage:
            return b""
        return sse_event({**self._last, "usage": self.usage.as_json()})
