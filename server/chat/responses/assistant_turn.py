"""What the assistant said in one turn: neighbouring items of an answer, as one message."""

from __future__ import annotations

from typing import Any

from server.chat.messages import Message
from server.chat.opaque import is_ours, unwrapped

_BETWEEN = "\n\n"


class AssistantTurn:
    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        """Characters of them all, once they are joined: each place is asked for among thousands."""
        self._thoughts: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._details: list[Any] = []
        self._pieces = 0

    def say(self, text: str) -> None:
        if text:
            self._length += len(text) + (len(_BETWEEN) if self._texts else 0)
            self._texts.append(text)
        self._pieces += 1

    def call(self, call: dict[str, Any]) -> None:
        self._calls.append(call)
        self._pieces += 1

    def think(self, text: str, sealed: str | None, identifier: Any) -> None:
        if text:
            self._thoughts.append(text)
        if sealed is not None and is_ours(sealed):
            detail = unwrapped(sealed)
            if detail is not None:
                self._details.append(detail)
        elif sealed is not None and type(identifier) is str:
            written = {"id": identifier, "data": sealed, "format": "openai-responses"}
            place = {"index": self._pieces, "at": self._length}
            self._details.append({"type": "reasoning.encrypted", **written, **place})
        self._pieces += 1

    def message(self) -> Message:
        message: dict[str, Any] = {"role": "assistant", "content": _BETWEEN.join(self._texts)}
        if self._calls:
            message["tool_calls"] = self._calls
        if self._thoughts:
            message["reasoning_content"] = _BETWEEN.join(self._thoughts)
        if self._details:
            message["reasoning_details"] = self._details
        return message
