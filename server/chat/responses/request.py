"""A body of /v1/responses -> the one request type, and what is to be said back of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.chat.checks import invalid, missing
from server.chat.fields import EFFORTS, Reader
from server.chat.messages import MAX_MESSAGES, Conversation
from server.chat.request import ChatRequest
from server.chat.responses.fields import RESPONSES, as_here
from server.chat.responses.items import Item, read_items
from server.chat.responses.toolbox import Offer, Toolbox
from server.chat.tools import Tool, ToolUse, parse_tool_choice
from server.errors import RequestError

Recall = Callable[[str], Sequence[Item] | None]
"""The items of a conversation up to and with the response of that id; None: it is not kept."""

_reader = Reader(RESPONSES)
_SAMPLING = ("temperature", "top_p")


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    chat: ChatRequest
    items: tuple[Item, ...]
    """The whole conversation before the answer, to be kept with it."""
    store: bool
    summary: bool
    """Whether thinking is to be given as a summary; else it is given as the reasoning's text."""
    echo: Mapping[str, Any]
    """What the answer repeats of the request."""
    offers: Mapping[str, Offer] = field(default_factory=dict)
    """The tools, by what models call them."""


def parse_response(body: Mapping[str, Any], recall: Recall) -> ResponsesRequest:
    """A body of /v1/responses. Raises RequestError, with `param` naming the field."""
    given = _reader.read(body)
    for name in ("model", "input"):
        if name not in given:
            raise missing(name)
    earlier = _earlier(given.get("previous_response_id"), recall)
    items = [*earlier, *given["input"]]
    if len(items) > MAX_MESSAGES:
        why = f"with what was said before, it has more than {MAX_MESSAGES} items"
        raise invalid("input", why, "Begin a new conversation")
    conversation = _conversation(items, len(earlier), given.get("instructions", ""))
    toolbox = _toolbox(given, items, len(earlier))
    tool_use = _tool_use(given.get("tool_choice"), toolbox.tools())
    response_format = given.get("text")
    effort = given.get("reasoning", {}).get("effort")
    chat = ChatRequest(
        model=given["model"],
        stream=given.get("stream", False),
        include_usage=True,
        n=1,
        max_tokens=given.get("max_output_tokens"),
        sampling={name: given[name] for name in _SAMPLING if name in given},
        seed=None,
        stop=(),
        logit_bias=None,
        task_type=given.get("task_type"),
        messages=conversation.messages,
        image_types=conversation.image_types,
        pages=conversation.pages,
        thinking=None if effort is None else EFFORTS[effort],
        effort=effort,
        tool_use=tool_use,
        parallel_tool_calls=given.get("parallel_tool_calls"),
        response_format=response_format,
        top_logprobs=_top_logprobs(given),
    )
    reasoning = given.get("reasoning", {})
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    return ResponsesRequest(
        chat,
        tuple(items),
        given.get("store", True),
        summary is not None,
        _echo(given, body, toolbox),
        toolbox.offers,
    )


def _earlier(identifier: str | None, recall: Recall) -> Sequence[Item]:
    if identifier is None:
        return ()
    items = recall(identifier)
    if items is None:
        raise RequestError(
            f"Previous response with id '{identifier[:64]}' not found",
            why="it was not stored, or is no longer kept",
            next_step="Send the whole conversation as 'input'",
            param="previous_response_id",
        )
    return items


def _conversation(items: Sequence[Any], earlier: int, instructions: str) -> Conversation:
    try:
        return read_items(items, "input", instructions)
    except RequestError as error:
        raise _placed(error, earlier) from None


def _toolbox(given: Mapping[str, Any], items: Sequence[Any], earlier: int) -> Toolbox:
    toolbox = Toolbox()
    toolbox.offer(given.get("tools", []), "tools")
    try:
        toolbox.find(items, "input")
    except RequestError as error:
        raise _placed(error, earlier) from None
    return toolbox


def _placed(error: RequestError, earlier: int) -> RequestError:
    """An error about items, told with places in the `input` of this request, before which there
    were `earlier` ones."""
    param = error.param or ""
    if not earlier or not param.startswith("input["):
        return error
    there = param.partition("]")[0] + "]"
    here = f"input[{int(there[6:-1]) - earlier}]"
    return type(error)(
        error.what.replace(there, here),
        why=error.why,
        next_step=error.next_step,
        param=param.replace(there, here),
    )


def _tool_use(chosen: Any, tools: tuple[Tool, ...]) -> ToolUse:
    try:
        return parse_tool_choice(_as_chat(chosen), tools, "tool_choice")
    except RequestError as error:
        raise as_here(error) from None


def _as_chat(choice: Any) -> Any:
    """`tool_choice` as chat completions have it."""
    if type(choice) is not dict:
        return choice
    if choice.get("type") in ("function", "custom"):
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools" and type(choice.get("tools")) is list:
        tools = [_as_chat(one) for one in choice["tools"]]
        allowed = {"mode": choice.get("mode"), "tools": tools}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return choice


def _top_logprobs(given: Mapping[str, Any]) -> int | None:
    if "message.output_text.logprobs" not in given.get("include", ()):
        if given.get("top_logprobs"):
            why = "it needs 'message.output_text.logprobs' in 'include'"
            raise invalid("top_logprobs", why)
        return None
    return int(given.get("top_logprobs", 0))


def _echo(given: Mapping[str, Any], body: Mapping[str, Any], toolbox: Toolbox) -> dict[str, Any]:
    reasoning = {"effort": None, "summary": None, **given.get("reasoning", {})}
    text = body.get("text") or {}
    return {
        "instructions": given.get("instructions"),
        "max_output_tokens": given.get("max_output_tokens"),
        "metadata": given.get("metadata", {}),
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "previous_response_id": given.get("previous_response_id"),
        "reasoning": reasoning,
        "store": given.get("store", True),
        "temperature": given.get("temperature"),
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": toolbox.echo,
        "top_logprobs": given.get("top_logprobs", 0),
        "top_p": given.get("top_p"),
        "truncation": "disabled",
    }
