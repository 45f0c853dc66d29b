"""A stream of the engine -> the one complete answer that it amounts to.

Needed where the client wants whole what the engine should stream: several choices, whose tokens
llama-server counts only in a stream (in a complete answer `usage` is that of the first choice
alone), and long answers, which it stops at once for a client that leaves only if they are streamed.
"""

from __future__ import annotations

from typing import Any

import orjson

from server.chat.engine_error import error_of
from server.chat.sse import DONE
from server.chat.usage import Usage, usage_of
from server.errors import EngineError

_HEAD = ("id", "created", "model", "system_fingerprint")
_SAID = ("content", "reasoning_content", "reasoning")


def fold_stream(stream: bytes) -> dict[str, Any]:
    """The answer in the shape that the engine gives when it is not asked to stream.

    Raises the engine's own error if the stream holds one, and EngineError if it ends early.
    Anything in it that is not as it should be raises ValueError, TypeError or LookupError.
    """
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    usage: Usage | None = None
    timings: Any = None
    for event in stream.split(b"\n\n"):
        if event == DONE.strip():
            if timings is not None and len(choices) == 1:
                answer["timings"] = timings
            return _answer(answer, choices, usage)
        if not event.startswith(b"data: "):
            continue
        data = orjson.loads(event[6:])
        if data.get("error"):
            raise error_of(data["error"].get("code"), data["error"])
        if not answer:
            answer = {name: data.get(name) for name in _HEAD}
            answer["object"] = data["object"].removesuffix(".chunk")
        for part in data["choices"]:
            _take(part, choices.setdefault(part["index"], {"index": part["index"]}))
        timings = data.get("timings", timings)
        if counted := usage_of(data.get("usage")):
            usage = usage.with_choice(counted) if usage else counted
    raise EngineError(
        "The engine stopped in the middle of its answer", next_step="Send the request again"
    )


def _answer(
    answer: dict[str, Any], choices: dict[int, dict[str, Any]], usage: Usage | None
) -> dict[str, Any]:
    whole = {**answer, "choices": [_joined(choices[index]) for index in sorted(choices)]}
    return {**whole, "usage": usage.as_json()} if usage else whole


def _take(part: dict[str, Any], choice: dict[str, Any]) -> None:
    """Adds what one event says of a choice to what is known of it. Its words are lists of pieces
    meanwhile: joined with each token, a long answer would be copied as often."""
    choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    choice.setdefault("logprobs", None)
    for key, values in (part.get("logprobs") or {}).items():
        choice["logprobs"] = choice["logprobs"] or {}
        choice["logprobs"].setdefault(key, []).extend(values)
    if "text" in part:
        choice.setdefault("text", []).append(part["text"])
    if "delta" in part:
        message = choice.setdefault("message", {"role": "assistant", "content": []})
        _take_delta(part["delta"], message)


def _take_delta(delta: dict[str, Any], message: dict[str, Any]) -> None:
    for key in _SAID:
        if delta.get(key):
            message.setdefault(key, []).append(delta[key])
    for part in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        if part["index"] == len(calls):
            function: dict[str, Any] = {"name": [], "arguments": []}
            calls.append({"id": part.get("id"), "type": "function", "function": function})
        function = calls[part["index"]]["function"]
        for key, text in part.get("function", {}).items():
            function[key].append(text or "")


def _joined(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice that is whole, with its words as text."""
    message = choice.get("message", {})
    said = [(choice, ("text",)), (message, _SAID)]
    said += [(call["function"], ("name", "arguments")) for call in message.get("tool_calls", ())]
    for fields, keys in said:
        for key in keys:
            if key in fields:
                fields[key] = "".join(fields[key])
    return choice
