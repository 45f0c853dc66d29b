from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_create_params

from server.chat.anthropic import count_answer, parse_count, parse_message
from server.chat.anthropic.fields import COUNT, MESSAGES
from server.chat.fields import Field, fields_table
from server.chat.request import ChatRequest
from server.errors import RequestError

BOTH = ("weather", "time")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str = "weather", **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": SCHEMA, **more}


def ask(**fields: Any) -> ChatRequest:
    said = [{"role": "user", "content": "hi"}]
    return parse_message({"model": "m", "max_tokens": 10, "messages": said, **fields})


def test_the_least_that_can_be_asked() -> None:
    request = ask()
    assert request.endpoint == "chat"
    assert (request.model, request.max_tokens, request.stream, request.n) == ("m", 10, False, 1)
    assert request.messages == ({"role": "user", "content": "hi"},)
    assert (request.thinking, request.effort, request.thinking_budget) == (None, None, None)
    assert (request.sampling, request.stop, request.seed) == ({}, (), None)
    assert request.tool_use.names == ()
    assert (request.parallel_tool_calls, request.response_format) == (None, None)


@pytest.mark.parametrize(
    ("types", "fields"),
    [
        (message_create_params.MessageCreateParamsBase, MESSAGES),
        (beta_create_params.MessageCreateParamsBase, MESSAGES),
        (message_count_tokens_params.MessageCountTokensParams, COUNT),
    ],
)
def test_every_field_of_anthropics_client_has_a_row(
    types: type, fields: Mapping[str, Field]
) -> None:
    as_headers = {"betas", "workspace_id", "user_profile_id"}
    assert set(types.__annotations__) - set(fields) <= as_headers


def test_what_an_answer_is_to_be_like() -> None:
    request = ask(
        stream=True,
        stop_sequences=["a", "b"],
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        task_type="coding",
    )
    assert request.stream
    assert request.stop == ("a", "b")
    assert request.sampling == {"temperature": 0.5, "top_p": 0.9, "top_k": 40}
    assert request.task_type == "coding"


@pytest.mark.parametrize(
    ("fields", "thinking", "effort", "budget"),
    [
        ({}, None, None, None),
        ({"thinking": {"type": "adaptive"}}, True, None, None),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, True, None, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, True, None, 4000),
        ({"thinking": {"type": "disabled"}}, False, "none", None),
        ({"thinking": {"type": "between_tools"}}, False, "minimal", None),
        ({"output_config": {"effort": "xhigh"}}, None, "xhigh", None),
        ({"output_config": {"effort": None}}, None, None, None),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            True,
            "low",
            None,
        ),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}},
            False,
            "none",
            None,
        ),
        ({"thinking": None, "output_config": None}, None, None, None),
    ],
)
def test_how_much_is_to_be_thought(
    fields: dict[str, Any], thinking: bool | None, effort: str | None, budget: int | None
) -> None:
    request = ask(**fields)
    assert (request.thinking, request.effort, request.thinking_budget) == (thinking, effort, budget)


@pytest.mark.parametrize(
    ("choice", "names", "word", "parallel"),
    [
        (None, ("weather", "time"), "auto", None),
        ({"type": "auto"}, ("weather", "time"), "auto", None),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            ("weather", "time"),
            "auto",
            False,
        ),
        (
            {"type": "any", "disable_parallel_tool_use": False},
            ("weather", "time"),
            "required",
            True,
        ),
        ({"type": "tool", "name": "time"}, ("time",), "required", None),
        ({"type": "none"}, ("weather", "time"), "none", None),
    ],
)
def test_how_tools_are_chosen(
    choice: Any, names: tuple[str, ...], word: str, parallel: bool | None
) -> None:
    request = ask(tools=[tool(), tool("time")], tool_choice=choice)
    assert (request.tool_use.names, request.tool_use.choice) == (names, word)
    assert request.parallel_tool_calls is parallel


def test_a_tool_is_a_function() -> None:
    request = ask(
        tools=[
            tool(
                type="custom",
                description="Says it.",
                strict=True,
                cache_control={"type": "ephemeral", "ttl": "1h"},
                defer_loading=True,
                eager_input_streaming=True,
                allowed_callers=["direct"],
                input_examples=[{"city": "Bonn"}],
            ),
            tool("mcp__" + "x" * 123),
        ]
    )
    described = 'Says it.\n\nExamples of input:\n{"city":"Bonn"}'
    function = {"name": "weather", "description": described, "parameters": SCHEMA, "strict": True}
    assert request.tool_use.tools[0] == {"type": "function", "function": function}


def test_a_schema_for_the_answer() -> None:
    request = ask(output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert request.response_format == {"type": "json_schema", "json_schema": {"schema": SCHEMA}}


def test_what_means_nothing_here_is_passed_over() -> None:
    request = ask(
        metadata={"user_id": "user_1_session_2"},
        service_tier="auto",
        cache_control={"type": "ephemeral"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        diagnostics=None,
        speed="standard",
        mcp_servers=[],
        container=None,
        thread=None,
        user_profile_id="x",
    )
    assert request == ask()


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"max_tokens": None}, "max_tokens", "Missing"),
        ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"model": None}, "model", "Missing"),
        ({"messages": None}, "messages", "Missing"),
        ({"messages": []}, "messages", "1 to"),
        ({"temperature": 1.1}, "temperature", "<= 1"),
        ({"top_p": 0}, "top_p", "> 0"),
        ({"top_k": -1}, "top_k", ">= 0"),
        ({"stop_sequences": "x"}, "stop_sequences", "an array"),
        ({"stop_sequences": [""]}, "stop_sequences[0]", "1 to"),
        ({"thinking": {"type": "on"}}, "thinking.type", "'adaptive', 'enabled'"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "an integer"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 100}},
            "thinking.budget_tokens",
            ">= 1024",
        ),
        (
            {"thinking": {"type": "adaptive", "budget_tokens": 2000}},
            "thinking.budget_tokens",
            "no meaning",
        ),
        ({"thinking": {"type": "adaptive", "x": 1}}, "thinking.x", "Unknown"),
        ({"output_config": {"effort": "none"}}, "output_config.effort", "'low', 'medium'"),
        ({"output_config": {"task_budget": 1}}, "output_config.task_budget", "Unknown"),
        (
            {"output_config": {"format": {"type": "json_object"}}},
            "output_config.format.type",
            "'json_schema'",
        ),
        (
            {
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
                "tools": [tool()],
            },
            "output_config.format",
            "no way to call",
        ),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema", "Missing"),
        ({"tools": [{"input_schema": SCHEMA}]}, "tools[0].name", "Missing"),
        ({"tools": [tool("a b")]}, "tools[0].name", "pattern"),
        ({"tools": [tool("a"), tool("a")]}, "tools", "two tools are called 'a'"),
        ({"tools": [tool(description=1)]}, "tools[0].description", "a string"),
        ({"tools": [tool(unknown=1)]}, "tools[0].unknown", "Unknown"),
        (
            {"tools": [tool(), {"type": "web_search_20260318", "name": "web_search"}]},
            "tools[1].type",
            "'web_search' (web_search_20260318) would run at Anthropic",
        ),
        (
            {"tools": [{"name": "a", "input_schema": {"type": "string"}}]},
            "tools[0].input_schema.type",
            "'object'",
        ),
        (
            {"tools": [{"name": "a", "input_schema": {"properties": {"b": {"minLength": -1}}}}]},
            "tools[0].input_schema.properties.b.minLength",
            "0 to 2147483647",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "needs 'tools'"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "Missing"),
        (
            {"tools": [tool()], "tool_choice": {"type": "tool", "name": "time"}},
            "tool_choice.name",
            "no tool 'time'",
        ),
        ({"tool_choice": {"type": "auto", "x": 1}}, "tool_choice.x", "Unknown"),
        ({"tool_choice": "auto"}, "tool_choice", "an object"),
        ({"container": "c1"}, "container", "no containers"),
        ({"mcp_servers": [{}]}, "mcp_servers", "tools"),
        ({"speed": "fast"}, "speed", "one speed"),
        ({"thread": {"type": "create"}}, "thread", "without 'thread'"),
        ({"compaction": {"type": "summary"}}, "compaction", "summary"),
        ({"n": 2}, "n", "Unrecognized"),
    ],
)
def test_what_is_refused_is_named(fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        ask(**fields)
    assert caught.value.param == param
    assert says in caught.value.sentence


def test_counting_needs_no_limit() -> None:
    said = [{"role": "user", "content": "hi"}]
    fields = {"system": "be brief", "tools": [tool()], "thinking": {"type": "adaptive"}}
    request = parse_count({"model": "m", "messages": said, **fields})
    assert request.max_tokens is None
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert request.tool_use.names == ("weather",)
    with pytest.raises(RequestError, match="max_tokens"):
        parse_count({"model": "m", "messages": said, "max_tokens": 1})
    assert orjson.loads(count_answer(12)) == {"input_tokens": 12}


def test_the_fields_are_documented() -> None:
    table = fields_table(MESSAGES)
    assert "| `thinking` | accepted |" in table
    assert "| `mcp_servers` | refused |" in table
    assert set(COUNT) < set(MESSAGES)


CLAUDE_CODE: dict[str, Any] = {
    "model": "claude-opus-4-6",
    "max_tokens": 32_000,
    "stream": True,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.69;"},
        {
            "type": "text",
            "text": "You are Claude Code, Anthropic's official CLI for Claude.",
            "cache_control": {"type": "ephemeral", "scope": "global"},
        },
        {"type": "text", "text": "Be concise.\n", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [
        {"role": "user", "content": "<available-deferred-tools>\nWebSearch\n</available>"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Today.</system-reminder>"},
                {
                    "type": "text",
                    "text": "What is in a.py?",
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I read it.", "signature": "EqQB=="},
                {"type": "text", "text": "Reading."},
                {
                    "type": "tool_use",
                    "id": "toolu_01",
                    "name": "Read",
                    "input": {"file_path": "/a.py"},
                    "caller": {"type": "direct"},
                },
                {"type": "tool_use", "id": "toolu_02", "name": "Bash", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "content": "1\tprint(1)"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_02",
                    "is_error": True,
                    "content": [{"type": "text", "text": "<tool_use_error>no</tool_use_error>"}],
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "<system-reminder>Go on.</system-reminder>"},
            ],
        },
    ],
    "tools": [
        {
            "name": name,
            "description": f"{name} does it.",
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"file_path": {"type": "string"}, "n": {"exclusiveMinimum": 0}},
                "additionalProperties": False,
            },
            "eager_input_streaming": True,
        }
        for name in ("Read", "Bash", "Edit", *(f"mcp__srv__{number}" for number in range(60)))
    ],
    "metadata": {"user_id": "user_0784_account_261d_session_b4e5"},
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
}
"""What Claude Code 2.1 sends, shortened."""


def test_claude_codes_traffic() -> None:
    request = parse_message(CLAUDE_CODE)
    system, first, second, answer, *results, last = request.messages
    assert system["content"].count("\n\n") == 2
    assert system["content"].endswith("Be concise.\n")
    assert first["content"].startswith("<available")
    assert [part["type"] for part in second["content"]] == ["text", "text"]
    assert answer == {
        "role": "assistant",
        "content": "Reading.",
        "reasoning_content": "I read it.",
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "I read it.",
                "signature": "EqQB==",
                "format": "anthropic",
                "index": 0,
                "at": 0,
            }
        ],
        "tool_calls": [
            {
                "type": "function",
                "id": "toolu_01",
                "function": {"name": "Read", "arguments": '{"file_path":"/a.py"}'},
            },
            {
                "type": "function",
                "id": "toolu_02",
                "function": {"name": "Bash", "arguments": "{}"},
            },
        ],
    }
    assert results == [
        {"role": "tool", "tool_call_id": "toolu_01", "content": "1\tprint(1)"},
        {
            "role": "tool",
            "tool_call_id": "toolu_02",
            "content": "Error: <tool_use_error>no</tool_use_error>",
        },
    ]
    assert last == {"role": "user", "content": "<system-reminder>Go on.</system-reminder>"}
    assert len(request.tool_use.tools) == 63
    assert (request.thinking, request.effort, request.stream) == (True, "medium", True)
