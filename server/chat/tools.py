"""Tools that the model may call, and which of them it must.

A `custom` tool is a function with one string (custom_tools.py), which the request remembers.

llama-server knows `tool_choice` only as a word. A named function becomes `required` with that one
tool offered, and `allowed_tools` becomes its mode with those tools offered: the answer is bound
just as OpenAI's would be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from server.chat.checks import array, boolean, choice, invalid, mapping, missing, string, wrong_type
from server.chat.custom_tools import as_function
from server.chat.schema import bound_schemas
from server.record import record

MAX_TOOLS = 512

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_description = string(65_536)
_word = choice("none", "auto", "required")
_mode = choice("auto", "required")
_tool_type = choice("function", "custom")
_choice_type = choice("function", "custom", "allowed_tools")
_format = choice("text", "grammar")

Tool = Mapping[str, Any]


@record()
class ToolUse:
    """`tools` as the engine wants them, and the word that binds it: none, auto or required."""

    tools: tuple[Tool, ...]
    choice: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tool["function"]["name"] for tool in self.tools)


NO_TOOLS = ToolUse((), "none")


def tool_name(value: Any, name: str) -> str:
    if type(value) is not str:
        raise wrong_type(name, "a string", value)
    if not _NAME.fullmatch(value):
        raise invalid(name, f"'{value[:64]}' does not match the pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    return value


def parse_tools(value: Any, name: str) -> tuple[Tool, ...]:
    """Function tools with known keys only. Raises RequestError naming the place."""
    tools = tuple(
        _tool(tool, f"{name}[{index}]")
        for index, tool in enumerate(array(value, name, longest=MAX_TOOLS))
    )
    functions = [tool["function"] for tool in tools]
    bound_schemas(
        (function["parameters"], f"{name}[{index}].function.parameters")
        for index, function in enumerate(functions)
        if "parameters" in function
    )
    names = [function["name"] for function in functions]
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise invalid(name, f"two tools are called '{twice}'", "Give each its own name")
    return tools


def parse_tool_choice(value: Any, tools: tuple[Tool, ...], name: str) -> ToolUse:
    """What `tool_choice` makes of `tools`; None is OpenAI's default, auto."""
    if type(value) is str:
        if _word(value, name) == "required" and not tools:
            raise invalid(name, "'required' needs 'tools'")
        return ToolUse(tools, value if tools else "none")
    if value is None:
        return ToolUse(tools, "auto") if tools else NO_TOOLS
    if type(value) is not dict:
        raise wrong_type(name, "a string or an object", value)
    kind = _choice_type(value.get("type"), f"{name}.type")
    if kind != "allowed_tools":
        return ToolUse((_named(value, tools, name),), "required")
    place = f"{name}.allowed_tools"
    allowed = mapping(value.get("allowed_tools"), place)
    mode = _mode(allowed.get("mode"), f"{place}.mode")
    entries = array(allowed.get("tools"), f"{place}.tools", shortest=1, longest=MAX_TOOLS)
    chosen = [
        _named(mapping(entry, f"{place}.tools[{index}]"), tools, f"{place}.tools[{index}]")
        for index, entry in enumerate(entries)
    ]
    return ToolUse(tuple(tool for tool in tools if tool in chosen), mode)


def _named(entry: dict[str, Any], tools: tuple[Tool, ...], name: str) -> Tool:
    kind = "custom" if entry.get("type") == "custom" else "function"
    function = mapping(entry.get(kind), f"{name}.{kind}")
    if "name" not in function:
        raise missing(f"{name}.{kind}.name")
    wanted = function["name"]
    for tool in tools:
        if tool["function"]["name"] == wanted:
            return tool
    raise invalid(f"{name}.{kind}.name", f"there is no tool {str(wanted)[:64]!r} in 'tools'")


def custom_names(tools: Sequence[Any] | None) -> frozenset[str]:
    """Of the custom tools among `tools`, as the client sent them and parse_tools took them."""
    customs = (one for one in tools or () if one["type"] == "custom")
    return frozenset(one["custom"]["name"] for one in customs)


def _tool(value: Any, name: str) -> Tool:
    if _tool_type(mapping(value, name).get("type"), f"{name}.type") == "custom":
        return _custom(value, f"{name}.custom")
    if "function" not in value:
        raise missing(f"{name}.function")
    place = f"{name}.function"
    given = mapping(value["function"], place)
    if "name" not in given:
        raise missing(f"{place}.name")
    function: dict[str, Any] = {"name": tool_name(given["name"], f"{place}.name")}
    if given.get("description") is not None:
        function["description"] = _description(given["description"], f"{place}.description")
    if given.get("parameters") is not None:
        function["parameters"] = _parameters(given["parameters"], f"{place}.parameters")
    if given.get("strict") is not None:  # for clouds; an engine's grammar is always strict
        function["strict"] = boolean(given["strict"], f"{place}.strict")
    return {"type": "function", "function": function}


def _custom(value: dict[str, Any], place: str) -> Tool:
    given = mapping(value.get("custom"), place)
    if "name" not in given:
        raise missing(f"{place}.name")
    name, inside = tool_name(given["name"], f"{place}.name"), f"{place}.format"
    form = mapping(given.get("format") or {"type": "text"}, inside)
    grammar = None
    if _format(form.get("type"), f"{inside}.type") == "grammar":
        grammar = mapping(form.get("grammar"), f"{inside}.grammar")
    function = as_function(given.get("description"), grammar, place, f"{inside}.grammar")
    return {"type": "function", "function": {"name": name, **function}}


def _parameters(value: Any, name: str) -> dict[str, Any]:
    schema = mapping(value, name)
    if schema.get("type", "object") != "object":
        raise invalid(f"{name}.type", "a function's parameters are a schema of type 'object'")
    return schema
