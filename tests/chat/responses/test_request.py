from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from server.chat.messages import MAX_MESSAGES
from server.chat.responses import ResponsesRequest, parse_response
from server.chat.responses.fields import RESPONSES
from server.errors import RequestError

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
AS_CHAT = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
}
OTHER = {"type": "function", "name": "g"}
CUSTOM = {"type": "custom", "name": "c"}
SPACE = {"type": "namespace", "name": "agents", "tools": [TOOL, OTHER]}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}


def nothing(identifier: str) -> None:
    return None


def parse(**fields: Any) -> ResponsesRequest:
    return parse_response({"model": "m", "input": "hi", **fields}, nothing)


def test_every_parameter_of_the_openai_client_is_known() -> None:
    known = ResponseCreateParamsStreaming.__optional_keys__
    known |= ResponseCreateParamsNonStreaming.__optional_keys__
    known |= ResponseCreateParamsStreaming.__required_keys__
    assert known - RESPONSES.keys() == set()


def test_the_least_that_can_be_asked() -> None:
    request = parse()
    chat = request.chat
    assert chat.messages == ({"role": "user", "content": "hi"},)
    assert (chat.model, chat.stream, chat.n, chat.max_tokens) == ("m", False, 1, None)
    assert (chat.thinking, chat.effort, chat.top_logprobs) == (None, None, None)
    assert chat.tool_use.tools == ()
    assert request.store
    assert not request.summary
    assert request.items == ({"type": "message", "role": "user", "content": "hi"},)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"stream": True}, "stream", True),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream", True),
        ({"max_output_tokens": 7}, "max_tokens", 7),
        ({"temperature": 0.5, "top_p": 0.5}, "sampling", {"temperature": 0.5, "top_p": 0.5}),
        ({"reasoning": {"effort": "high"}}, "thinking", True),
        ({"reasoning": {"effort": "minimal"}}, "thinking", False),
        ({"reasoning": {"effort": "minimal"}}, "effort", "minimal"),
        ({"reasoning": {"summary": "auto"}}, "thinking", None),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, "response_format", None),
        ({"text": {"format": {"type": "json_object"}}}, "response_format",
         {"type": "json_object"}),
        ({"text": {"format": SCHEMA}}, "response_format",
         {"type": "json_schema",
          "json_schema": {"schema": {"type": "object"}, "name": "n", "strict": True}}),
        ({"include": ["message.output_text.logprobs"]}, "top_logprobs", 0),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 3}, "top_logprobs", 3),
        ({"include": ["reasoning.encrypted_content"]}, "top_logprobs", None),
        ({"task_type": "coding"}, "task_type", "coding"),
        ({"user": "u", "service_tier": "auto", "prompt_cache_key": "k", "max_tool_calls": 3,
          "truncation": "disabled", "background": False}, "task_type", None),
    ],
)  # fmt: skip
def test_what_is_kept(fields: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(parse(**fields).chat, name) == value


@pytest.mark.parametrize(
    ("choice", "names", "word"),
    [
        (None, ("f", "g"), "auto"),
        ("none", ("f", "g"), "none"),
        ("required", ("f", "g"), "required"),
        ({"type": "function", "name": "g"}, ("g",), "required"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
         ("f",), "auto"),
    ],
)  # fmt: skip
def test_tools(choice: Any, names: tuple[str, ...], word: str) -> None:
    use = parse(tools=[TOOL, OTHER], tool_choice=choice).chat.tool_use
    assert (use.names, use.choice) == (names, word)
    assert AS_CHAT in use.tools or "f" not in names


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": None}, "input", "Missing"),
    ({"input": []}, "input", "1 to"),
    ({"input": 5}, "input", "an array"),
    ({"model": None}, "model", "Missing"),
    ({"frequency_penalty": 1}, "frequency_penalty", "Unrecognized"),
    ({"max_output_tokens": 0}, "max_output_tokens", ">= 1"),
    ({"temperature": 3}, "temperature", "<= 2"),
    ({"background": True}, "background", "Unsupported"),
    ({"truncation": "auto"}, "truncation", "Unsupported"),
    ({"conversation": "c"}, "conversation", "previous_response_id"),
    ({"prompt": {"id": "p"}}, "prompt", "Unsupported"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
    ({"tools": [{"type": "web_search", "external_web_access": True}]}, "tools[0].type",
     "'web_search'"),
    ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type", "'code_interpreter'"),
    ({"tools": [{"type": "tool_search"}]}, "tools[0].execution", "'server'"),
    ({"tools": [{"type": "custom"}]}, "tools[0].name", "Missing"),
    ({"tools": [{**CUSTOM, "format": {"type": "xml"}}]}, "tools[0].format.type", "'xml'"),
    ({"tools": [{**CUSTOM, "format": {"type": "grammar", "syntax": "ebnf"}}]},
     "tools[0].format.syntax", "'ebnf'"),
    ({"tools": [SPACE, {**TOOL, "parameters": 1}]}, "tools[1].parameters", "an object"),
    ({"tools": [CUSTOM], "tool_choice": {"type": "custom", "name": "x"}}, "tool_choice.name",
     "no tool 'x'"),
    ({"input": [{"role": "user", "content": "hi"},
                {"type": "additional_tools", "tools": [{"type": "mcp"}]}]},
     "input[1].tools[0].type", "'mcp'"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "Missing"),
    ({"tools": [{**TOOL, "parameters": 1}]}, "tools[0].parameters", "an object"),
    ({"tools": [{**TOOL, "name": "a b"}]}, "tools[0].name", "pattern"),
    ({"tools": [TOOL, TOOL]}, "tools", "two tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name",
     "no tool 'x'"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "x", "tools": []}},
     "tool_choice.mode", "'x'"),
    ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice.type", "web_search"),
    ({"tool_choice": "required"}, "tool_choice", "needs 'tools'"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type", "'xml'"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "Missing"),
    ({"text": {"format": {**SCHEMA, "schema": {"maxItems": -1}}}}, "text.format.schema.maxItems",
     "0 to"),
    ({"text": {"tone": "kind"}}, "text.tone", "Unknown"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "'huge'"),
    ({"reasoning": {"mode": "pro"}}, "reasoning.mode", "Unknown"),
    ({"top_logprobs": 3}, "top_logprobs", "include"),
    ({"include": ["x"]}, "include[0]", "'x'"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "more than 16"),
    ({"metadata": {"a": 1}}, "metadata.a", "a string"),
    ({"previous_response_id": "resp_x"}, "previous_response_id", "not found"),
    ({"stream_options": {"include_usage": True}}, "stream_options.include_usage", "Unknown"),
    ({"input": [{"type": "web_search_call"}]}, "input[0].type", "'web_search_call'"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "says"), REFUSED)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(**fields)
    assert caught.value.param == param
    assert says in caught.value.sentence


def test_the_traffic_of_a_coding_agent() -> None:
    """As Codex sends it to a provider that it does not know, in its second turn."""
    shell = {
        "type": "function",
        "name": "exec_command",
        "description": "Runs a command.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}},
            "required": ["cmd"],
            "additionalProperties": False,
        },
    }
    request = parse(
        instructions="You are a coding agent.",
        input=[
            {"type": "message", "role": "developer",
             "content": [{"type": "input_text", "text": "<permissions>"}]},
            {"type": "message", "role": "user",
             "content": [{"type": "input_text", "text": "<environment_context>"},
                         {"type": "input_text", "text": "List the files."}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "ls"}],
             "content": None, "encrypted_content": None},
            {"type": "function_call", "name": "exec_command", "arguments": '{"cmd":"ls"}',
             "call_id": "call_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
        ],
        tools=[shell, {"type": "web_search", "external_web_access": False}],
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="thread",
        text={"verbosity": "medium"},
        client_metadata={"x-codex-installation-id": "i"},
    )  # fmt: skip
    assert [one["role"] for one in request.chat.messages] == ["system", "user", "assistant", "tool"]
    assert request.chat.messages[2]["reasoning_content"] == "ls"
    assert request.chat.tool_use.names == ("exec_command",)
    assert request.chat.parallel_tool_calls is False
    assert request.summary
    assert not request.store


def test_a_conversation_goes_on_from_a_response_that_is_kept() -> None:
    kept = [
        {"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"},
    ]
    said = {"type": "function_call_output", "call_id": "x", "output": "1"}
    request = parse_response(
        {"model": "m", "input": [said], "previous_response_id": "resp_1"},
        {"resp_1": kept}.get,
    )
    assert [one["role"] for one in request.chat.messages] == ["user", "assistant", "tool"]
    assert request.items == (*kept, said)
    assert request.echo["previous_response_id"] == "resp_1"


def test_a_conversation_has_no_more_items_than_a_request_may() -> None:
    items = [{"role": "user", "content": "a"}] * (MAX_MESSAGES - 1)
    body = {"model": "m", "input": "b", "previous_response_id": "resp_1"}
    assert len(parse_response(body, {"resp_1": items}.get).items) == MAX_MESSAGES
    with pytest.raises(RequestError, match="said before") as caught:
        parse_response(body, {"resp_1": [*items, *items[:1]]}.get)
    assert caught.value.param == "input"


def test_errors_name_the_place_in_this_request() -> None:
    kept = [{"role": "user", "content": "a"}] * 3
    body = {"model": "m", "input": ["x"], "previous_response_id": "resp_1"}
    with pytest.raises(RequestError) as caught:
        parse_response(body, {"resp_1": kept}.get)
    assert caught.value.param == "input[0]"
    assert "input[0]" in caught.value.what
    open_call = [*kept, {"type": "function_call", "call_id": "x", "name": "f"}]
    with pytest.raises(RequestError, match="answers the call 'x'") as caught:
        parse_response({**body, "input": "b"}, {"resp_1": open_call}.get)
    assert caught.value.param == "input[0]"


def test_what_the_answer_repeats() -> None:
    given = {
        "instructions": "be brief",
        "metadata": {"a": "b"},
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "f"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low"},
        "temperature": 0.5,
        "store": False,
    }
    request = parse(**given)
    assert not request.store
    assert request.summary
    echo = dict(request.echo)
    assert echo.pop("text") == {"verbosity": "low", "format": {"type": "text"}}
    assert echo == echo | {key: value for key, value in given.items() if key != "text"}
