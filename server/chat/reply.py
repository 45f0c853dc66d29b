"""A complete (not streamed) answer: what an engine says -> what OpenAI's clients expect."""

from __future__ import annotations

from typing import Any

import orjson

from server.chat.fold import fold_stream
from server.chat.logprobs import chosen_only, make_legacy
from server.chat.request import ChatRequest, CompletionRequest
from server.chat.thinking import say_thinking
from server.chat.usage import Usage, usage_of
from server.errors import EngineError
from server.record import record


@record()
class Reply:
    body: bytes
    usage: Usage | None


def finish_reply(body: bytes, request: ChatRequest | CompletionRequest) -> Reply:
    """The client's body for the engine's `body`; the very same bytes where nothing is to change.

    The engine's body is one JSON object, or where `request.folds` its whole event stream.

    Thinking is given as `reasoning` and as `reasoning_content`, tool calls alone have null for
    content, log probabilities have their endpoint's shape. Raises EngineError if `body` is not a
    JSON object with choices, and for a stream what it broke off with.
    """
    try:
        answer = fold_stream(body) if request.folds else orjson.loads(body)
        choices = answer["choices"]
        changed = [_finish_choice(choice, request) for choice in choices]
        usage = usage_of(answer.get("usage"))
    except (ValueError, TypeError, LookupError, AttributeError):
        raise EngineError(
            "The engine's answer cannot be read",
            why="it is not a JSON object with choices",
            next_step="Try again",
        ) from None
    return Reply(orjson.dumps(answer) if request.folds or any(changed) else body, usage)


def _finish_choice(choice: dict[str, Any], request: ChatRequest | CompletionRequest) -> bool:
    """Changes `choice` in place; returns whether it did."""
    if isinstance(request, CompletionRequest):
        if request.logprobs is not None:
            make_legacy(choice, request.logprobs, 0)
        return request.logprobs is not None
    message = choice["message"]
    changed = say_thinking(message)
    # vLLM has null for an answer that is empty, too.
    wanted = None if message.get("tool_calls") else ""
    if not message.get("content") and message.get("content") != wanted:
        message["content"] = wanted
        changed = True
    # vLLM says "stop" of a call that was forced, unless it is asked to stream.
    if message.get("tool_calls") and choice.get("finish_reason") == "stop":
        choice["finish_reason"] = "tool_calls"
        changed = True
    if request.top_logprobs == 0:
        chosen_only(choice)
        changed = True
    return changed
