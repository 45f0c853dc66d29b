"""Ids of calls that the client left out: by them every provider tells which answer is whose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from server.chat.messages import Message


def identified(messages: Sequence[Message]) -> Iterator[Message]:
    """`messages`, each call with an id: where there was none, that of the answers after it which
    belongs to no other call."""
    for at, message in enumerate(messages):
        if all("id" in call for call in message.get("tool_calls", ())):
            yield message
        else:
            after = (messages[place] for place in range(at + 1, len(messages)))
            answers = takewhile(lambda one: one["role"] == "tool", after)
            yield {**message, "tool_calls": _calls(message, answers)}


def _calls(message: Message, answered: Iterable[Message]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = [dict(call) for call in message["tool_calls"]]
    known = {call["id"] for call in calls if "id" in call}
    answers = [one["tool_call_id"] for one in answered if one["tool_call_id"] not in known]
    for number, call in enumerate(calls):
        if "id" not in call:
            call["id"] = answers.pop(0) if answers else f"call_{number}"
    return calls
