"""A stream of the engine -> the one complete answer that it amounts to.

Needed where the client wants several choices whole: llama-server counts the tokens of all of them
only in a stream (in a complete answer `usage` is that of the first choice alone).
"""

from __future__ import annotations

from typing import Any

import orjson

from server.chat.engine_error import error_of
from server.chat.reply import Reply, finish_choice
from server.chat.request import ChatRequest, CompletionRequest
from server.chat.sse import DONE, WholeEvents
from server.chat.usage import Usage, usage_of
from server.errors import EngineError, HoldfastError


class StreamFold:
    """feed(bytes of the engine) until it ends, then reply()."""

    def __init__(self, request: ChatRequest | CompletionRequest) -> None:
        self.done = False
        self.error: HoldfastError | None = None
        self.usage: Usage | None = None
        self._request = request
        self._events = WholeEvents()
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def feed(self, chunk: bytes) -> None:
        """Raises EngineError on bytes that are no event stream."""
        for event in self._events.whole(chunk).split(b"\n\n"):
            if self.done or self.error is not None:
                return
            if event == DONE.strip():
                self.done = True
            elif event.startswith(b"data: "):
                try:
                    self._take(orjson.loads(event[6:]))
                except (ValueError, TypeError, LookupError, AttributeError):
                    raise EngineError(
                        "The engine's stream cannot be read", next_step="Try again"
                    ) from None

    def reply(self) -> Reply:
        """The answer. Raises the engine's own error, or EngineError if the stream ended early."""
        if self.error is not None:
            raise self.error
        if not self.done:
            raise EngineError(
                "The engine stopped in the middle of its answer", next_step="Try again"
            )
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            finish_choice(choice, self._request)
        answer = {**self._head, "choices": choices}
        if self.usage is not None:
            answer["usage"] = self.usage.as_json()
        return Reply(orjson.dumps(answer), self.usage)

    def _take(self, data: dict[str, Any]) -> None:
        if data.get("error"):
            code = data["error"].get("code")
            self.error = error_of(code if isinstance(code, int) else 500, data["error"])
            return
        usage = usage_of(data.get("usage"))
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.with_choice(usage)
        if not self._head:
            self._head = {key: data.get(key) for key in ("id", "object", "created", "model")}
            self._head["system_fingerprint"] = data.get("system_fingerprint")
            self._head["object"] = data["object"].removesuffix(".chunk")
        for part in data["choices"]:
            self._take_choice(part)

    def _take_choice(self, part: dict[str, Any]) -> None:
        index = part["index"]
        choice = self._choices.setdefault(index, _empty(index, self._request))
        if part.get("finish_reason") is not None:
            choice["finish_reason"] = part["finish_reason"]
        if part.get("logprobs"):
            if choice["logprobs"] is None:
                choice["logprobs"] = {"content": []}
            choice["logprobs"]["content"] += part["logprobs"]["content"]
        if "text" in part:
            choice["text"] += part["text"]
        if "delta" in part:
            _take_delta(choice["message"], part["delta"])


def _empty(index: int, request: ChatRequest | CompletionRequest) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": None}
    if isinstance(request, CompletionRequest):
        return {"text": "", **choice}
    return {"message": {"role": "assistant", "content": ""}, **choice}


def _take_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for key in ("content", "reasoning_content"):
        if delta.get(key):
            message[key] = message.get(key, "") + delta[key]
    for part in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        if part["index"] == len(calls):
            call = {"id": part.get("id"), "type": "function"}
            calls.append({**call, "function": {"name": "", "arguments": ""}})
        function = calls[part["index"]]["function"]
        for key, text in part.get("function", {}).items():
            function[key] += text
