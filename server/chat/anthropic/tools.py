"""Anthropic's tools and their choice -> those of the one request type.

Tools that would run at Anthropic (`type` other than `custom`) are refused by name. Of the hints,
`input_examples` are told in the description; `cache_control`, `defer_loading` (every tool is
loaded), `eager_input_streaming` (arguments always stream) and `allowed_callers` mean nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from server.chat.checks import array, boolean, choice, invalid, mapping, missing, only
from server.chat.tools import MAX_TOOLS, Tool, ToolUse
from server.chat.tools import parse_tools as parse_functions
from server.errors import RequestError

_KNOWN = frozenset(
    ("type", "name", "description", "input_schema", "strict", "input_examples", "cache_control")
) | {"defer_loading", "eager_input_streaming", "allowed_callers"}

_choice_type = choice("auto", "any", "tool", "none")


@dataclass(frozen=True, slots=True)
class Choice:
    word: str
    """auto, required or none."""
    name: str | None
    """The one tool that must be called."""
    parallel: bool | None


def parse_tools(value: Any, name: str) -> tuple[Tool, ...]:
    """Raises RequestError naming the place."""
    entries = array(value, name, longest=MAX_TOOLS)
    functions = [_tool(one, f"{name}[{index}]") for index, one in enumerate(entries)]
    try:
        return parse_functions(functions, name)
    except RequestError as error:
        what, param = _as_here(error.what), _as_here(error.param or name)
        raise RequestError(what, why=error.why, next_step=error.next_step, param=param) from None


def parse_choice(value: Any, name: str) -> Choice:
    given = mapping(value, name)
    kind = _choice_type(given.get("type"), f"{name}.type")
    only(given, name, frozenset(("type", "name", "disable_parallel_tool_use")))
    parallel = None
    if given.get("disable_parallel_tool_use") is not None:
        place = f"{name}.disable_parallel_tool_use"
        parallel = not boolean(given["disable_parallel_tool_use"], place)
    if kind != "tool":
        return Choice("required" if kind == "any" else kind, None, parallel)
    if type(given.get("name")) is not str:
        raise missing(f"{name}.name")
    return Choice("required", given["name"], parallel)


def use_of(tools: tuple[Tool, ...], chosen: Choice | None) -> ToolUse:
    """Raises RequestError for a choice that the tools do not have."""
    if chosen is None or chosen.word == "none":
        return ToolUse(tools, "auto" if tools and chosen is None else "none")
    if chosen.name is None:
        if chosen.word == "required" and not tools:
            raise invalid("tool_choice", "'any' needs 'tools'")
        return ToolUse(tools, chosen.word if tools else "none")
    named = tuple(tool for tool in tools if tool["function"]["name"] == chosen.name)
    if not named:
        raise invalid("tool_choice.name", f"there is no tool {chosen.name[:64]!r} in 'tools'")
    return ToolUse(named, chosen.word)


def _as_here(text: str) -> str:
    """A place in OpenAI's tools, as Anthropic's clients know it."""
    return text.replace(".function.parameters", ".input_schema").replace(".function", "")


def _tool(value: Any, name: str) -> dict[str, Any]:
    """As OpenAI has it, to be checked as such."""
    given = mapping(value, name)
    kind = given.get("type")
    if kind not in (None, "custom"):
        raise invalid(
            f"{name}.type",
            f"the tool '{str(given.get('name'))[:64]}' ({str(kind)[:64]}) would run at Anthropic",
            "Offer a tool of your own, with an 'input_schema'",
        )
    only(given, name, _KNOWN)
    if "name" not in given:
        raise missing(f"{name}.name")
    if "input_schema" not in given:
        raise missing(f"{name}.input_schema")
    schema = mapping(given["input_schema"], f"{name}.input_schema")
    function = {"name": given["name"], "parameters": schema}
    for key in ("description", "strict"):
        if given.get(key) is not None:
            function[key] = given[key]
    examples = array(given.get("input_examples") or [], f"{name}.input_examples", longest=64)
    if examples and type(function.get("description", "")) is str:
        told = "\n".join(orjson.dumps(one).decode() for one in examples)
        said = function.get("description", "")
        function["description"] = f"{said}\n\nExamples of input:\n{told}".lstrip()
    return {"type": "function", "function": function}
