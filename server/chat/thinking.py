"""Thinking in an answer, said alike whichever engine says it.

llama-server calls it `reasoning_content`, vLLM `reasoning`; clients look for either name and get
both. vLLM leaves the line breaks that the template has between thinking and answer to the answer,
which begins without them here.
"""

from __future__ import annotations

import re
from typing import Any

_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_NAMES = (b'"reasoning_content":', b'"reasoning":')
VLLM_MARK = b'"reasoning":"'
"""In an event of vLLM's that carries thinking; llama-server's never do."""


def say_thinking(message: dict[str, Any]) -> bool:
    """Gives a complete message both names, in place; returns whether anything changed."""
    if "reasoning_content" in message:
        message["reasoning"] = message["reasoning_content"]
        return True
    if not message.get("reasoning"):
        return False
    message["reasoning_content"] = message["reasoning"]
    if message.get("content"):
        message["content"] = message["content"].lstrip()
    return True


def with_both_names(events: bytes) -> bytes:
    """`events` with each engine's name of thinking beside the other's, both of the same text."""
    key, twin = _NAMES if _NAMES[0] in events else reversed(_NAMES)
    at = events.find(key)
    while at >= 0:
        text = _JSON_STRING.match(events, at + len(key))
        end = at + len(key)
        if text is not None:  # null stays alone
            end = text.end()
            events = b"%b,%b%b%b" % (events[:end], twin, text[0], events[end:])
        at = events.find(key, end)
    return events


class Trim:
    """Cuts what vLLM leaves between thinking and answer out of a stream, delta by delta."""

    def __init__(self) -> None:
        self._thinking: set[int] = set()

    @property
    def active(self) -> bool:
        """Whether a choice is thinking, or has just ended and not begun to answer."""
        return bool(self._thinking)

    def feed(self, choice: dict[str, Any]) -> None:
        """Changes the delta of `choice` in place."""
        index, delta = choice.get("index", 0), choice.get("delta") or {}
        if delta.get("reasoning"):
            self._thinking.add(index)
        elif index in self._thinking and delta.get("content"):
            delta["content"] = delta["content"].lstrip()
            if delta["content"]:
                self._thinking.remove(index)
