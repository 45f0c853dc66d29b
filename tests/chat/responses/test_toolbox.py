"""Tools of every kind that clients of the Responses API run themselves, there and back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from server.chat.custom_tools import input_of, wrapped_input
from server.chat.events import Arguments, Began, CallBegan, Ended, Event, Finished
from server.chat.responses import (
    ResponsesEncoder,
    ResponsesRequest,
    parse_response,
    whole_response,
)
from server.chat.responses.toolbox import Offer
from server.errors import RequestError

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
OTHER = {"type": "function", "name": "g"}
LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits.", "format": LARK}
SEARCH = {
    "type": "tool_search",
    "execution": "client",
    "description": "Finds tools.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
}
USER = {"role": "user", "content": "hi"}
_events = TypeAdapter(ResponseStreamEvent)


def parse(**fields: Any) -> ResponsesRequest:
    return parse_response({"model": "m", "input": "hi", **fields}, lambda identifier: None)


def called(name: str, *arguments: str) -> list[Event]:
    pieces = [Arguments(0, piece) for piece in arguments]
    return [Began("r", "m"), CallBegan(0, "c1", name), *pieces, Finished("tool_calls"), Ended()]


def answered(request: ResponsesRequest, events: list[Event]) -> dict[str, Any]:
    """The one item of the answer, which the official client's types must take, streamed too."""
    whole = whole_response(events, request, "resp_1", 0)
    Response.model_validate(whole)
    stream = ResponsesEncoder(request, "resp_1", 0).feed(events)
    told = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if line[:5] == b"data:"]
    for one in told:
        _events.validate_json(one)
    assert orjson.loads(told[-1])["response"]["output"] == whole["output"]
    (item,) = whole["output"]
    return dict(item)


def test_a_custom_tool_is_a_function_with_one_string() -> None:
    (tool,) = parse(tools=[PATCH]).chat.tool_use.tools
    function = tool["function"]
    assert function["name"] == "apply_patch"
    assert function["parameters"]["required"] == ["input"]
    assert function["description"] == (
        'Edits.\n\nThe input must match this lark grammar:\nstart: "*** Begin Patch"'
    )


def test_a_call_of_a_custom_tool_is_told_as_one() -> None:
    item = answered(parse(tools=[PATCH]), called("apply_patch", '{"inp', 'ut":"a\\n\\"b\\""}'))
    assert (item["type"], item["name"], item["call_id"]) == (
        "custom_tool_call",
        "apply_patch",
        "c1",
    )
    assert item["input"] == 'a\n"b"'


def test_the_input_of_a_custom_tool_comes_before_it_is_said_to_be_done() -> None:
    encoder = ResponsesEncoder(parse(tools=[PATCH]), "resp_1", 0)
    stream = encoder.feed(called("apply_patch", '{"input":"x"}')).decode()
    kinds = [line[7:] for line in stream.splitlines() if line.startswith("event: ")]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.completed",
    ]


@given(st.text())
def test_any_input_comes_back_as_it_went(text: str) -> None:
    assert input_of(wrapped_input(text)) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"input": {"a": 1}}', '{"a":1}'),
        ('["x"]', '["x"]'),
        ("{}", ""),
        ("", ""),
    ],
)
def test_what_a_model_wrote_instead_of_the_json(arguments: str, text: str) -> None:
    assert input_of(arguments) == text


def test_a_conversation_with_calls_of_custom_tools() -> None:
    items = [
        USER,
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "a\nb"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    ]
    _, asked, told = parse(tools=[PATCH], input=items).chat.messages
    assert asked["tool_calls"][0]["function"] == {
        "name": "apply_patch",
        "arguments": '{"input":"a\\nb"}',
    }
    assert told == {"role": "tool", "tool_call_id": "c", "content": "done"}


def test_a_search_for_tools_is_done_by_the_client() -> None:
    request = parse(tools=[SEARCH])
    assert request.chat.tool_use.names == ("tool_search",)
    item = answered(request, called("tool_search", '{"query": "x"}'))
    assert (item["type"], item["execution"]) == ("tool_search_call", "client")
    assert item["arguments"] == {"query": "x"}


def test_what_a_search_found_is_offered_from_then_on() -> None:
    items = [
        USER,
        {"type": "tool_search_call", "call_id": "c", "arguments": {"query": "x"}},
        {"type": "tool_search_output", "call_id": "c", "tools": [SPACE, OTHER]},
    ]
    request = parse(tools=[SEARCH, OTHER], input=items)
    assert request.chat.tool_use.names == ("tool_search", "g", "agents__f", "agents__g")
    _, asked, told = request.chat.messages
    assert asked["tool_calls"][0]["function"]["arguments"] == '{"query":"x"}'
    assert told["content"] == "Found: agents, g"


def test_tools_that_stand_in_the_input_are_offered() -> None:
    """As Codex sends them to models that it knows."""
    space = {"type": "namespace", "name": "functions", "description": "", "tools": [PATCH, OTHER]}
    more = {"type": "additional_tools", "role": "developer", "tools": [space]}
    request = parse(input=[more, USER])
    assert request.chat.tool_use.names == ("functions__apply_patch", "functions__g")
    assert request.chat.messages == ({"role": "user", "content": "hi"},)
    item = answered(request, called("functions__apply_patch", '{"input":"x"}'))
    assert (item["namespace"], item["name"], item["input"]) == ("functions", "apply_patch", "x")


def test_what_is_said_of_a_namespace_is_told_with_its_first_tool() -> None:
    first, second = parse(tools=[SPACE]).chat.tool_use.tools
    assert first["function"]["description"] == "d"
    assert not second["function"].get("description")


def test_a_custom_tool_can_be_what_must_be_called() -> None:
    use = parse(tools=[OTHER, PATCH], tool_choice={"type": "custom", "name": "apply_patch"}).chat
    assert (use.tool_use.names, use.tool_use.choice) == (("apply_patch",), "required")


def test_tools_are_repeated_as_they_were_given() -> None:
    request = parse(tools=[OTHER, PATCH, {"type": "web_search", "external_web_access": False}])
    assert request.echo["tools"] == [{**OTHER, "parameters": None, "strict": None}, PATCH]


SPACE = {"type": "namespace", "name": "agents", "description": "d", "tools": [TOOL, OTHER]}


def test_functions_of_a_namespace_are_offered_under_both_names() -> None:
    request = parse(tools=[OTHER, SPACE])
    names = [tool["function"]["name"] for tool in request.chat.tool_use.tools]
    assert names == ["g", "agents__f", "agents__g"]
    assert request.offers["agents__f"] == Offer("function", "f", "agents")
    call = {"type": "function_call", "call_id": "c", "arguments": "{}"}
    items = [
        {"role": "user", "content": "hi"},
        call | {"namespace": "agents", "name": "f"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    said = parse(tools=[SPACE], input=items).chat.messages[1]
    assert said["tool_calls"][0]["function"]["name"] == "agents__f"


def test_a_call_into_a_namespace_is_told_as_one() -> None:
    request = parse(tools=[SPACE])
    events: list[Event] = [
        Began("r", "m"),
        CallBegan(0, "c1", "agents__f"),
        Arguments(0, "{}"),
        CallBegan(1, "c2", "g"),
        Arguments(1, "{}"),
        Finished("tool_calls"),
        Ended(),
    ]
    calls = whole_response(events, request, "resp_1", 0)["output"]
    told = [(call.get("namespace"), call["name"]) for call in calls]
    assert told == [("agents", "f"), (None, "g")]


@pytest.mark.parametrize(
    ("space", "param"),
    [
        ({"name": "a b"}, "tools[0].name"),
        ({"tools": "x"}, "tools[0].tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].tools[0].name"),
    ],
)
def test_what_is_no_namespace_is_named(space: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(tools=[SPACE | space])
    assert caught.value.param == param
