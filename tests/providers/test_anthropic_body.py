from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from server.catalogue.cloud import CloudModel, Price, Rate
from server.errors import RequestError
from server.providers.anthropic import PROTOCOL
from tests.fakes.anthropic_rules import NEWEST, RefusedError, check
from tests.providers.clouds import MODEL, ask, assistant, call, model, result, tool, user, without

BUDGETS = model(efforts=("none",), thinking_budget=(1024, 32_000))
BOTH = model(thinking_budget=(1024, 32_000))
ALWAYS = model(efforts=("low", "medium", "high"))
NOTES = model(efforts=("minimal", "low", "high"))
TOOLS = {"tools": [tool()]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def body(of: CloudModel = MODEL, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    written: dict[str, Any] = orjson.loads(PROTOCOL.encode(ask(*messages, **fields), of).body)
    return written


def test_the_least_that_can_be_asked() -> None:
    made = PROTOCOL.encode(ask(), MODEL)
    assert made.path == "/v1/messages"
    assert made.headers == {"anthropic-version": "2026-10-21"}
    assert orjson.loads(made.body) == {
        "model": "model-1",
        "max_tokens": 64_000,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert PROTOCOL.authentication("k") == {"x-api-key": "k"}


def test_a_conversation_of_empty_messages_is_refused() -> None:
    with pytest.raises(RequestError, match="takes no empty message") as told:
        body(MODEL, user(""), user(" \n"))
    assert told.value.param == "messages"
    assert body(MODEL, user(" "), user("x"))


def test_the_system_prompt_is_apart() -> None:
    assert (
        body(MODEL, {"role": "system", "content": "be brief"}, user("hi"))["system"] == "be brief"
    )
    assert "system" not in body(MODEL, {"role": "system", "content": " \n"}, user("hi"))


@pytest.mark.parametrize("text", ["", " \n"])
def test_the_fake_takes_text_as_the_api_does(text: str) -> None:
    asked = body(
        MODEL, user("a"), assistant(text), user([{"type": "text", "text": text}]), user("b")
    )
    headers = {"anthropic-version": NEWEST}
    check(asked, headers)
    asked["messages"][0]["content"].append({"type": "text", "text": text})
    with pytest.raises(RefusedError, match="text content blocks must"):
        check(asked, headers)


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"parallel_tool_calls": True}, {"type": "auto"}),
        (
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": tool("time")}, {"type": "tool", "name": "time"}),
    ],
)
def test_how_tools_are_chosen(fields: dict[str, Any], choice: dict[str, Any]) -> None:
    assert body(tools=[tool(), tool("time")], **fields)["tool_choice"] == choice


def test_tools_have_a_schema_always() -> None:
    given = [tool(), tool("time", description="Says it", parameters=SCHEMA, strict=False)]
    assert body(tools=given)["tools"] == [
        {"name": "weather", "input_schema": {"type": "object"}},
        {"name": "time", "description": "Says it", "input_schema": SCHEMA},
    ]


def test_a_strict_tool_is_closed() -> None:
    (written,) = body(tools=[tool(parameters=SCHEMA, strict=True)])["tools"]
    assert written["strict"] is True
    assert written["input_schema"] == {**SCHEMA, "additionalProperties": False}


@pytest.mark.parametrize(
    ("function", "param"),
    [
        ({"parameters": {"anyOf": [SCHEMA, SCHEMA]}}, "tools[0].function.parameters.anyOf"),
        ({"parameters": {**SCHEMA, "allOf": [{}]}}, "tools[0].function.parameters.allOf"),
        (
            {"strict": True, "parameters": {"properties": {"a": {"maxLength": 3}}}},
            "tools[0].function.parameters.properties.a.maxLength",
        ),
    ],
)
def test_a_schema_that_it_cannot_take_names_the_tool(function: Any, param: str) -> None:
    with pytest.raises(RequestError, match="the tool 'weather'") as caught:
        body(tools=[tool(**function)])
    assert caught.value.param == param


def test_calls_without_tools_have_those_that_they_name() -> None:
    said = [user("a"), assistant(None, tool_calls=[call("c"), call("d")]), result("c"), result("d")]
    made = body(MODEL, *said)
    assert made["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
    assert made["tool_choice"] == {"type": "none"}


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


def test_an_answers_schema() -> None:
    nested = {"type": "object", "properties": {"in": SCHEMA, "no": {"type": ["integer", "null"]}}}
    made = body(response_format=json_schema(nested), reasoning_effort="low")
    closed = {"additionalProperties": False}
    inner = {"in": {**SCHEMA, **closed}, "no": {"type": ["integer", "null"]}}
    schema = {**nested, "properties": inner, **closed}
    form = {"type": "json_schema", "schema": schema}
    assert made["output_config"] == {"effort": "low", "format": form}


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "integer", "minimum": 1}, "minimum"),
        ({"type": "string", "maxLength": 5}, "maxLength"),
        ({"type": "array", "items": {}, "minItems": 2}, "minItems"),
        ({"type": "array", "items": {}, "maxItems": 2}, "maxItems"),
        ({"type": "object", "additionalProperties": True}, "additionalProperties"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "additionalProperties"),
        ({"type": "object", "patternProperties": {"^a": {}}}, "patternProperties"),
        ({"not": {"type": "string"}}, "not"),
        ({"if": {}, "then": {}}, "if"),
    ],
)
def test_an_answers_schema_that_it_could_not_keep(schema: dict[str, Any], keyword: str) -> None:
    with pytest.raises(RequestError, match=f"has '{keyword}'") as caught:
        body(response_format=json_schema({"type": "object", "properties": {"p": schema}}))
    assert caught.value.param == f"response_format.json_schema.schema.properties.p.{keyword}"


def test_json_without_a_schema_is_refused() -> None:
    with pytest.raises(RequestError, match="takes no 'json_object'"):
        body(response_format={"type": "json_object"})


ON = {"type": "adaptive", "display": "summarized"}
OFF = {"type": "disabled"}


def effort(degree: str) -> dict[str, Any]:
    return {"output_config": {"effort": degree}}


@pytest.mark.parametrize(
    ("of", "fields", "budget", "written"),
    [
        (MODEL, {}, None, {}),
        (MODEL, {"enable_thinking": True}, None, {"thinking": ON}),
        (MODEL, {"reasoning_effort": "high"}, None, {"thinking": ON, **effort("high")}),
        (MODEL, {"reasoning_effort": "minimal"}, None, effort("low")),
        (MODEL, {"reasoning_effort": "none"}, None, {"thinking": OFF}),
        (MODEL, {"enable_thinking": False}, None, {"thinking": OFF}),
        (MODEL, {"enable_thinking": True}, 10_000, {"thinking": ON, **effort("medium")}),
        (NOTES, {"enable_thinking": False}, None, {"thinking": {"type": "between_tools"}}),
        (NOTES, {"reasoning_effort": "minimal"}, None, {"thinking": {"type": "between_tools"}}),
        (ALWAYS, {"enable_thinking": False}, None, effort("low")),
        (ALWAYS, {"reasoning_effort": "max"}, None, {"thinking": ON, **effort("high")}),
        (BUDGETS, {}, None, {}),
        (BUDGETS, {"enable_thinking": False}, None, {"thinking": OFF}),
        (
            BUDGETS,
            {"reasoning_effort": "low", "max_tokens": 20_000},
            None,
            {"thinking": {"type": "enabled", "budget_tokens": 4000}},
        ),
        (
            BUDGETS,
            {"enable_thinking": True, "max_tokens": 4000},
            31_999,
            {"thinking": {"type": "enabled", "budget_tokens": 3999}},
        ),
        (
            BOTH,
            {"enable_thinking": True},
            2000,
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        (BOTH, {"reasoning_effort": "xhigh"}, None, {"thinking": ON, **effort("xhigh")}),
        (without("thinking"), {"enable_thinking": False}, None, {"thinking": OFF}),
        (model(efforts=()), {"enable_thinking": False}, None, {}),
        (model(efforts=("none",)), {"reasoning_effort": "high"}, None, {"thinking": ON}),
    ],
)
def test_how_much_it_is_to_think(
    of: CloudModel, fields: dict[str, Any], budget: int | None, written: dict[str, Any]
) -> None:
    request = dataclasses.replace(ask(**fields), thinking_budget=budget)
    made = orjson.loads(PROTOCOL.encode(request, of).body)
    assert {k: v for k, v in made.items() if k in ("thinking", "output_config")} == written


@pytest.mark.parametrize(("of", "off"), [(MODEL, True), (BUDGETS, True), (ALWAYS, False)])
def test_a_model_that_must_call_is_told_not_to_think(of: CloudModel, off: bool) -> None:
    made = body(of, **TOOLS, tool_choice="required", reasoning_effort="minimal")
    assert made.get("thinking") == (OFF if off else None)
    assert "output_config" not in made


def test_thinking_between_calls_is_switched_on_for_a_budget() -> None:
    made = PROTOCOL.encode(ask(**TOOLS, enable_thinking=True), BUDGETS)
    assert made.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
    assert "anthropic-beta" not in PROTOCOL.encode(ask(enable_thinking=True), BUDGETS).headers
    assert (
        "anthropic-beta" not in PROTOCOL.encode(ask(**TOOLS, enable_thinking=True), MODEL).headers
    )


def test_a_budget_is_not_taken_up_amid_calls_that_began_without_signed_thinking() -> None:
    def thinks(of: CloudModel, *details: dict[str, Any]) -> bool:
        turn = assistant(None, tool_calls=[call("c")], reasoning_details=list(details))
        said = [user("a"), turn, result("c")]
        on = {
            body(of, *said, *more, enable_thinking=True, **TOOLS).get("thinking", OFF) != OFF
            for more in ([], [user("and")])
        }
        assert len(on) == 1
        return True in on

    signed = {"type": "reasoning.text", "format": "anthropic", "text": "a", "signature": "s"}
    assert thinks(BUDGETS, signed)
    assert not thinks(BUDGETS)
    assert not thinks(BUDGETS, {**signed, "format": "gemini"})
    assert not thinks(BUDGETS, {**signed, "model": "model-2"})
    assert body(BUDGETS, user("a"), assistant("b"), user("c"), enable_thinking=True)["thinking"]
    assert thinks(MODEL)


@pytest.mark.parametrize(
    ("of", "fields", "param"),
    [
        (BUDGETS, {"enable_thinking": True, "max_tokens": 1024}, "max_tokens"),
        (MODEL, {"enable_thinking": True, "tool_choice": "required", **TOOLS}, "tool_choice"),
        (MODEL, {"temperature": 1.5}, "temperature"),
        (MODEL, {"temperature": 0.5, "top_p": 0.5}, "top_p"),
        (BUDGETS, {"enable_thinking": True, "temperature": 0.5}, "temperature"),
        (BUDGETS, {"enable_thinking": True, "top_k": 5}, "top_k"),
        (MODEL, {"stop": ["x", " \n"]}, "stop"),
        (MODEL, {"seed": 1}, "seed"),
        (MODEL, {"n": 2}, "n"),
        (MODEL, {"logprobs": True}, "logprobs"),
        (MODEL, {"logit_bias": {"1": 1}}, "logit_bias"),
        (MODEL, {"presence_penalty": 1}, "presence_penalty"),
        (MODEL, {"min_p": 0.1}, "min_p"),
        (without("temperature"), {"temperature": 0}, "temperature"),
    ],
)
def test_what_the_api_has_no_word_for_is_refused(
    of: CloudModel, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        body(of, **fields)
    assert caught.value.param == param


def test_sampling_is_asked_for_in_the_version_that_has_it() -> None:
    made = PROTOCOL.encode(ask(temperature=0, top_k=5, top_p=1), MODEL)
    assert made.headers["anthropic-version"] == "2023-06-01"
    assert {"temperature": 0, "top_k": 5}.items() <= orjson.loads(made.body).items()
    neutral = PROTOCOL.encode(ask(temperature=1, top_k=-1, top_p=1), MODEL)
    assert neutral.headers["anthropic-version"] == "2026-10-21"
    assert orjson.loads(neutral.body).keys().isdisjoint(("temperature", "top_k", "top_p"))


def test_stop_sequences_and_a_limit() -> None:
    made = body(stop=["a", " b"], max_tokens=5)
    assert (made["stop_sequences"], made["max_tokens"]) == (["a", " b"], 5)


CACHES = model(price=Price(Rate(1, 1, cached_input=1, cache_write=1)))


@pytest.mark.parametrize(
    ("of", "messages", "fields", "cached"),
    [
        (CACHES, [user("hi")], {}, False),
        (CACHES, [user("hi")], TOOLS, True),
        (CACHES, [user("hi"), assistant("ho"), user("hi")], {}, True),
        (MODEL, [user("hi")], TOOLS, False),
    ],
)
def test_a_prompt_is_cached_where_it_will_come_again(
    of: CloudModel, messages: list[dict[str, Any]], fields: dict[str, Any], cached: bool
) -> None:
    made = body(of, *messages, **fields)
    assert made.get("cache_control") == ({"type": "ephemeral"} if cached else None)
