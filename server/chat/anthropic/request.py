"""A body of /v1/messages or of /v1/messages/count_tokens -> the one request type.

Thinking: `adaptive` and `enabled` switch it on, the latter with its budget; `disabled` and
`between_tools` switch it off. Without `thinking`, `output_config.effort` is a wish for clouds that
know degrees and leaves the rest to the model; with thinking off it says nothing more. `display` is
not looked at: what thinking a target shows is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from server.chat.anthropic.fields import COUNT, MESSAGES
from server.chat.anthropic.messages import with_system
from server.chat.anthropic.tools import use_of
from server.chat.checks import invalid, missing
from server.chat.fields import Reader
from server.chat.request import ChatRequest

_messages = Reader(MESSAGES)
_count = Reader(COUNT)
_SAMPLING = ("temperature", "top_p", "top_k")


def parse_message(body: Mapping[str, Any]) -> ChatRequest:
    """A body of /v1/messages. Raises RequestError, with `param` naming the field."""
    given = _messages.read(body)
    if "max_tokens" not in given:
        raise missing("max_tokens")
    return _request(given)


def parse_count(body: Mapping[str, Any]) -> ChatRequest:
    """A body of /v1/messages/count_tokens: a request of which only the prompt matters."""
    return _request(_count.read(body))


def count_answer(tokens: int) -> bytes:
    return orjson.dumps({"input_tokens": tokens})


def _request(given: dict[str, Any]) -> ChatRequest:
    for name in ("model", "messages"):
        if name not in given:
            raise missing(name)
    conversation, chosen = given["messages"], given.get("tool_choice")
    tool_use = use_of(given.get("tools", ()), chosen)
    response_format = given.get("output_config", {}).get("format")
    if response_format is not None and tool_use.choice != "none":
        why = "a forced format leaves the model no way to call a tool"
        raise invalid("output_config.format", why, "Leave out 'tools', or choose type 'none'")
    return ChatRequest(
        model=given["model"],
        stream=given.get("stream", False),
        include_usage=True,
        n=1,
        max_tokens=given.get("max_tokens"),
        sampling={name: given[name] for name in _SAMPLING if name in given},
        seed=None,
        stop=given.get("stop_sequences", ()),
        logit_bias=None,
        task_type=given.get("task_type"),
        messages=with_system(given.get("system", ""), conversation),
        image_types=conversation.image_types,
        pages=conversation.pages,
        tool_use=tool_use,
        parallel_tool_calls=chosen.parallel if chosen is not None else None,
        response_format=response_format,
        top_logprobs=None,
        **_thinking(given),
    )


def _thinking(given: dict[str, Any]) -> dict[str, Any]:
    config = given.get("thinking")
    effort = given.get("output_config", {}).get("effort")
    if config is None:
        return {"thinking": None, "effort": effort, "thinking_budget": None}
    on = config["type"] in ("adaptive", "enabled")
    if not on:
        effort = "minimal" if config["type"] == "between_tools" else "none"
    return {"thinking": on, "effort": effort, "thinking_budget": config.get("budget_tokens")}
