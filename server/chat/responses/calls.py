"""Calls of tools as items of an answer: each kind of tool has one of its own.

The arguments of a function come piece by piece. The input of a custom tool, which the model writes
as a JSON string, and what tools are searched for, are told once they are whole.
"""

from __future__ import annotations

from typing import Any

from server.chat.custom_tools import input_of
from server.chat.responses.items import Item
from server.chat.responses.toolbox import Kind, Offer, searched

_PREFIXES: dict[Kind, str] = {"function": "fc", "custom": "ctc", "tool_search": "tsc"}


def begun(offer: Offer, call_id: str, tail: str) -> Item:
    """The item of a call of which nothing more is known; its id ends in `tail`."""
    item: Item = {"id": f"{_PREFIXES[offer.kind]}_{tail}", "call_id": call_id}
    if offer.kind == "function":
        item |= {"type": "function_call", "name": offer.name, "arguments": ""}
    elif offer.kind == "custom":
        item |= {"type": "custom_tool_call", "name": offer.name, "input": ""}
    else:
        item |= {"type": "tool_search_call", "execution": "client", "arguments": {}}
    if offer.space is not None:
        item["namespace"] = offer.space
    return {**item, "status": "in_progress"}


def streams(item: Item) -> bool:
    """Whether its arguments are told piece by piece."""
    return bool(item["type"] == "function_call")


def filled(item: Item, arguments: str) -> list[tuple[str, dict[str, Any]]]:
    """Makes the item whole; gives the kinds and fields of the events that tell it."""
    item["status"] = "completed"
    if item["type"] == "function_call":
        item["arguments"] = arguments or "{}"
        said = {"name": item["name"], "arguments": item["arguments"]}
        return [("response.function_call_arguments.done", said)]
    if item["type"] == "tool_search_call":
        item["arguments"] = searched(arguments)
        return []
    item["input"] = text = input_of(arguments)
    kind = "response.custom_tool_call_input"
    deltas = [(f"{kind}.delta", {"delta": text})] if text else []
    return [*deltas, (f"{kind}.done", {"input": text})]
