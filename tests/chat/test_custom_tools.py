"""Custom tools of chat completions: to models as functions, and back as their clients know them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionToolUnionParam
from pydantic import TypeAdapter

from server.chat.answer import answer_of
from server.chat.chunk_encoder import ChunkEncoder, completion
from server.chat.custom_tools import wrapped_input
from server.chat.events import Arguments, Began, CallBegan, Ended, Event, Finished, Text
from server.chat.request import ChatRequest, parse_chat
from server.errors import RequestError

GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "patch"'}}
PATCH = {
    "type": "custom",
    "custom": {"name": "patch", "description": "Edits.", "format": GRAMMAR},
}
RUN = {"type": "custom", "custom": {"name": "run"}}
WEATHER = {"type": "function", "function": {"name": "weather"}}
TOOLS = [PATCH, WEATHER, RUN]
USER = {"role": "user", "content": "hi"}


def ask(*said: dict[str, Any], **fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [USER, *said], "tools": TOOLS, **fields}
    for tool in body["tools"]:
        TypeAdapter(ChatCompletionToolUnionParam).validate_python(tool)
    return parse_chat(body)


def answer(*calls: tuple[str, list[str]], choice: int = 0) -> list[Event]:
    said: list[Event] = [Text("Well.", choice)]
    for index, (name, pieces) in enumerate(calls):
        said.append(CallBegan(index, f"c{index}", name, choice))
        said += [Arguments(index, piece, choice) for piece in pieces]
    return [*said, Finished("tool_calls", choice)]


def whole_calls(request: ChatRequest, events: list[Event]) -> list[Any]:
    """Of the first choice of the whole answer, which the official client's types must take."""
    body = completion(answer_of(events), request, 0)
    ChatCompletion.model_validate_json(body)
    calls: list[Any] = orjson.loads(body)["choices"][0]["message"]["tool_calls"]
    return calls


def streamed(request: ChatRequest, events: list[Event], *, at_once: bool) -> list[Any]:
    """The entries of `tool_calls` in the chunks of a stream, with the number of their choice."""
    encoder = ChunkEncoder(request, 0)
    pieces = [events] if at_once else [[one] for one in events]
    told = b"".join(encoder.feed(piece) for piece in pieces)
    chunks = [orjson.loads(one[6:]) for one in told.split(b"\n\n") if one.startswith(b"data: {")]
    return [
        (choice["index"], call)
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]


def test_to_models_it_is_a_function_with_one_string() -> None:
    request = ask()
    patch, weather, run = (tool["function"] for tool in request.tool_use.tools)
    assert patch["description"] == (
        'Edits.\n\nThe input must match this lark grammar:\nstart: "patch"'
    )
    assert patch["parameters"]["required"] == ["input"]
    assert (weather, run["name"]) == ({"name": "weather"}, "run")
    assert "description" not in run
    assert request.custom_tools == {"patch", "run"}


@pytest.mark.parametrize("tools", [None, [], [WEATHER]])
def test_who_offers_none_has_none(tools: Any) -> None:
    assert parse_chat({"model": "m", "messages": [USER], "tools": tools}).custom_tools == set()


@pytest.mark.parametrize(
    ("chosen", "names", "word"),
    [
        ({"type": "custom", "custom": {"name": "run"}}, ("run",), "required"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "custom", "custom": {"name": "patch"}}, WEATHER],
                },
            },
            ("patch", "weather"),
            "auto",
        ),
        ("required", ("patch", "weather", "run"), "required"),
    ],
)
def test_it_can_be_chosen(chosen: Any, names: tuple[str, ...], word: str) -> None:
    use = ask(tool_choice=chosen).tool_use
    assert (use.names, use.choice) == (names, word)


def test_earlier_calls_are_those_of_the_function() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "run", "input": 'ls "a"\n'}}
    said = ask(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "b"},
    )
    assert said.messages[1]["tool_calls"] == [
        {
            "type": "function",
            "function": {"name": "run", "arguments": wrapped_input('ls "a"\n')},
            "id": "c1",
        }
    ]


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"type": "custom"}, "custom"),
        ({"type": "custom", "custom": {}}, "custom.name"),
        ({"type": "custom", "custom": {"name": "a b", "input": ""}}, "custom.name"),
        ({"type": "custom", "custom": {"name": "run"}}, "custom.input"),
        ({"type": "custom", "custom": {"name": "run", "input": {}}}, "custom.input"),
        ({"type": "custom", "custom": {"name": "run", "input": ""}, "id": 5}, "id"),
    ],
)
def test_what_is_wrong_with_an_earlier_call_is_named(call: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        ask({"role": "assistant", "content": None, "tool_calls": [call]})
    assert caught.value.param == f"messages[1].tool_calls[0].{param}"


CALLS: tuple[tuple[str, list[str]], ...] = (
    ("run", ['{"inp', 'ut":"ls\\n', '\\"a\\""}']),
    ("weather", ['{"city"', ':"Bonn"}']),
    ("patch", []),
)
GIVEN = [
    {"id": "c0", "type": "custom", "custom": {"name": "run", "input": 'ls\n"a"'}},
    {"id": "c1", "type": "function",
     "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}},
    {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": ""}},
]  # fmt: skip


def test_a_whole_answer_has_its_calls_as_the_client_knows_them() -> None:
    events = [Began("i", "m"), *answer(*CALLS), Ended()]
    assert whole_calls(ask(), events) == GIVEN


@pytest.mark.parametrize("at_once", [False, True])
def test_a_stream_begins_a_call_at_once_and_tells_its_input_whole(at_once: bool) -> None:
    events = [Began("i", "m"), *answer(*CALLS), Ended()]
    assert streamed(ask(), events, at_once=at_once) == [
        (0, {"index": 0, **GIVEN[0], "custom": {"name": "run", "input": ""}}),
        (0, {"index": 0, "custom": {"input": 'ls\n"a"'}}),
        (0, {"index": 1, **GIVEN[1], "function": {"name": "weather", "arguments": ""}}),
        (0, {"index": 1, "function": {"arguments": '{"city"'}}),
        (0, {"index": 1, "function": {"arguments": ':"Bonn"}'}}),
        (0, {"index": 2, **GIVEN[2]}),
        (0, {"index": 2, "custom": {"input": ""}}),
    ]


def test_choices_are_told_apart() -> None:
    first = answer(("run", [wrapped_input("one")]), choice=0)
    second = answer(("run", [wrapped_input("two")]), choice=1)
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    told = streamed(ask(n=2), [Began("i", "m"), *mixed, Ended()], at_once=True)
    inputs = [(choice, call["custom"]["input"]) for choice, call in told if "id" not in call]
    assert inputs == [(0, "one"), (1, "two")]


@given(
    given=st.lists(st.tuples(st.sampled_from(["run", "patch", "weather"]), st.text()), max_size=4),
    cut=st.integers(1, 5),
)
def test_stream_and_whole_say_the_same(given: list[tuple[str, str]], cut: int) -> None:
    calls = []
    for name, text in given:
        arguments = wrapped_input(text)
        calls.append((name, [arguments[at : at + cut] for at in range(0, len(arguments), cut)]))
    events = [Began("i", "m"), *answer(*calls), Ended()]
    told: dict[int, dict[str, Any]] = {}
    for _, call in streamed(ask(), events, at_once=cut % 2 == 0):
        known = told.setdefault(call["index"], {"function": "", "custom": ""} | call)
        for kind, key in (("function", "arguments"), ("custom", "input")):
            if isinstance(call.get(kind), dict) and known is not call:
                known[f"{kind} said"] = known.get(f"{kind} said", "") + call[kind][key]
    whole = whole_calls(ask(), events) if given else []
    assert len(told) == len(whole)
    for index, one in enumerate(whole):
        kind, key = ("custom", "input") if one["type"] == "custom" else ("function", "arguments")
        assert told[index]["type"] == one["type"]
        assert told[index][f"{kind} said"] == one[kind][key]
        if kind == "custom":
            assert one[kind][key] == given[index][1]
