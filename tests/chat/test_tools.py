from __future__ import annotations

from typing import Any

import pytest

from server.chat.tools import MAX_TOOLS, NO_TOOLS, parse_tool_choice, parse_tools
from server.errors import RequestError


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def custom(**fields: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": fields}


TOOLS = parse_tools([tool("weather"), tool("time"), tool("search")], "tools")


def test_known_keys_are_kept_and_no_other() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    given = tool("weather", description="Says it", parameters=schema, strict=True, extra=1)
    given["cache_control"] = {"type": "ephemeral"}
    assert parse_tools([given], "tools") == (
        tool("weather", description="Says it", parameters=schema, strict=True),
    )


def test_description_and_parameters_may_be_null_or_absent() -> None:
    given = tool("a", description=None, parameters=None, strict=None)
    assert parse_tools([given], "tools") == (tool("a"),)
    assert parse_tools([], "tools") == ()


@pytest.mark.parametrize(
    ("given", "param", "says"),
    [
        ({}, "tools", "expected an array"),
        ([1], "tools[0]", "expected an object"),
        ([{}], "tools[0].type", "expected a string, but got null"),
        ([{"type": "web_search"}], "tools[0].type", "'web_search' is not supported"),
        ([{"type": "custom"}], "tools[0].custom", "expected an object"),
        ([custom()], "tools[0].custom.name", "Missing"),
        ([custom(name="a b")], "tools[0].custom.name", "does not match"),
        ([custom(name="a", description=1)], "tools[0].custom.description", "a string"),
        ([custom(name="a", format=1)], "tools[0].custom.format", "an object"),
        ([custom(name="a", format={"type": "x"})], "tools[0].custom.format.type", "'x' is not"),
        (
            [custom(name="a", format={"type": "grammar"})],
            "tools[0].custom.format.grammar",
            "expected an object",
        ),
        (
            [custom(name="a", format={"type": "grammar", "grammar": {"syntax": "ebnf"}})],
            "tools[0].custom.format.grammar.syntax",
            "'ebnf' is not supported",
        ),
        (
            [custom(name="a", format={"type": "grammar", "grammar": {"syntax": "lark"}})],
            "tools[0].custom.format.grammar.definition",
            "a string",
        ),
        ([custom(name="a"), tool("a")], "tools", "two tools are called 'a'"),
        ([{"type": "function"}], "tools[0].function", "Missing"),
        ([{"type": "function", "function": {}}], "tools[0].function.name", "Missing"),
        ([tool("")], "tools[0].function.name", "pattern"),
        ([tool("a b")], "tools[0].function.name", "pattern"),
        ([tool("a\n")], "tools[0].function.name", "pattern"),
        ([tool("x" * 129)], "tools[0].function.name", "pattern"),
        ([tool("a", description=1)], "tools[0].function.description", "expected a string"),
        ([tool("a", parameters=[])], "tools[0].function.parameters", "expected an object"),
        (
            [tool("a", parameters={"type": "string"})],
            "tools[0].function.parameters.type",
            "type 'object'",
        ),
        (
            [tool("b"), tool("a", parameters={"properties": {"x": {"maxLength": 10**10}}})],
            "tools[1].function.parameters.properties.x.maxLength",
            "0 to 2147483647",
        ),
        ([tool("a"), tool("b"), tool("a")], "tools", "two tools are called 'a'"),
        ([tool(f"t{i}") for i in range(MAX_TOOLS + 1)], "tools", "513"),
    ],
)
def test_broken_tools_are_named(given: Any, param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_tools(given, "tools")
    assert caught.value.param == param
    assert says in caught.value.sentence


@pytest.mark.parametrize(
    ("choice", "names", "word"),
    [
        (None, ("weather", "time", "search"), "auto"),
        ("auto", ("weather", "time", "search"), "auto"),
        ("none", ("weather", "time", "search"), "none"),
        ("required", ("weather", "time", "search"), "required"),
        (tool("time"), ("time",), "required"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [tool("search"), tool("weather")]},
            },
            ("weather", "search"),
            "auto",
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [tool("time"), tool("time")]},
            },
            ("time",),
            "required",
        ),
    ],
)
def test_every_choice_becomes_tools_and_a_word(
    choice: Any, names: tuple[str, ...], word: str
) -> None:
    use = parse_tool_choice(choice, TOOLS, "tool_choice")
    assert (use.names, use.choice) == (names, word)


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_without_tools_there_is_nothing_to_choose(choice: str | None) -> None:
    assert parse_tool_choice(choice, (), "tool_choice") == NO_TOOLS


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        (1, "tool_choice"),
        ("any", "tool_choice"),
        ({}, "tool_choice.type"),
        ({"type": "custom"}, "tool_choice.custom"),
        ({"type": "custom", "custom": {}}, "tool_choice.custom.name"),
        ({"type": "custom", "custom": {"name": "x"}}, "tool_choice.custom.name"),
        ({"type": "web_search"}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "function", "function": {}}, "tool_choice.function.name"),
        (tool("nope"), "tool_choice.function.name"),
        (tool([]), "tool_choice.function.name"),  # type: ignore[arg-type]
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [tool("time")]}},
            "tool_choice.allowed_tools.mode",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
            "tool_choice.allowed_tools.tools",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("nope")]}},
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
    ],
)
def test_broken_choices_are_named(choice: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_tool_choice(choice, TOOLS, "tool_choice")
    assert caught.value.param == param


def test_required_needs_tools() -> None:
    with pytest.raises(RequestError, match="'required' needs 'tools'"):
        parse_tool_choice("required", (), "tool_choice")
