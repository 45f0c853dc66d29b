from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from google.genai.types import Content

from server.catalogue.cloud import CloudModel
from server.errors import RequestError
from server.providers.gemini import PROTOCOL
from tests.providers.clouds import (
    MODEL,
    ask,
    assistant,
    call,
    image,
    model,
    paper,
    pdf_data,
    png,
    result,
    tool,
    user,
    without,
)

BUDGETS = model(efforts=("none",), thinking_budget=(128, 24_576))
NEVER_OFF = model(efforts=(), thinking_budget=(128, 32_768))
LEVELS = model(efforts=("minimal", "low", "high"))
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def body(of: CloudModel = BUDGETS, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    written: dict[str, Any] = orjson.loads(PROTOCOL.encode(ask(*messages, **fields), of).body)
    return written


def contents(*messages: dict[str, Any], of: CloudModel = BUDGETS) -> list[Any]:
    written: list[Any] = body(of, *messages, tools=[tool(), tool("time")])["contents"]
    return written


def test_the_least_that_can_be_asked() -> None:
    made = PROTOCOL.encode(ask(), MODEL)
    assert made.path == "/v1/models/model-1:streamGenerateContent?alt=sse"
    assert made.headers == {}
    assert orjson.loads(made.body) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"maxOutputTokens": 64_000},
    }
    assert PROTOCOL.authentication("k") == {"x-goog-api-key": "k"}


def test_the_models_name_cannot_leave_its_place_in_the_path() -> None:
    made = PROTOCOL.encode(ask(), model(name="../a?b#c"))
    assert made.path == "/v1/models/..%2Fa%3Fb%23c:streamGenerateContent?alt=sse"


def test_a_conversation_of_empty_messages_is_refused() -> None:
    with pytest.raises(RequestError, match="takes no empty message") as told:
        body(BUDGETS, user(""), user(""))
    assert told.value.param == "messages"
    assert body(BUDGETS, user(""), user("x"))


def test_the_system_prompt_is_apart() -> None:
    made = body(BUDGETS, {"role": "system", "content": "be brief"}, user("hi"))
    assert made["systemInstruction"] == {"parts": [{"text": "be brief"}]}


def use(identifier: str, name: str = "weather", **args: Any) -> dict[str, Any]:
    return {"functionCall": {"id": identifier, "name": name, "args": args}}


def response(identifier: str, output: str, name: str = "weather") -> dict[str, Any]:
    return {"functionResponse": {"id": identifier, "name": name, "response": {"output": output}}}


def signature(data: str, identifier: str | None = None) -> dict[str, Any]:
    detail = {"type": "reasoning.encrypted", "format": "gemini", "data": data, "index": 0}
    return detail if identifier is None else {**detail, "id": identifier}


CASES: list[tuple[str, list[dict[str, Any]], list[tuple[str, list[dict[str, Any]]]]]] = [
    (
        "neighbours are one content, and empty ones none",
        [user("a"), user([{"type": "text", "text": "b"}]), assistant(""), user(""), user("c")],
        [("user", [{"text": "a"}, {"text": "b"}, {"text": "c"}])],
    ),
    (
        "what parallel tools answered is one content of its own",
        [
            user("a"),
            assistant("look", tool_calls=[call("c1", arguments='{"x":1}'), call("c2", "time")]),
            result("c2", "noon"),
            result("c1", "sunny"),
            user("and?"),
        ],
        [
            ("user", [{"text": "a"}]),
            ("model", [{"text": "look"}, use("c1", x=1), use("c2", "time")]),
            ("user", [response("c2", "noon", "time"), response("c1", "sunny")]),
            ("user", [{"text": "and?"}]),
        ],
    ),
    (
        "signatures are where they were",
        [
            user("a"),
            assistant(
                "look",
                tool_calls=[call("c1"), call("c2")],
                reasoning_details=[signature("s1", "c1"), signature("s0")],
            ),
            result("c1"),
            result("c2"),
        ],
        [
            ("user", [{"text": "a"}]),
            (
                "model",
                [
                    {"text": "look", "thoughtSignature": "s0"},
                    {**use("c1"), "thoughtSignature": "s1"},
                    use("c2"),
                ],
            ),
            ("user", [response("c1", "ok"), response("c2", "ok")]),
        ],
    ),
    (
        "a signature without text stands alone, and those of others are not sent",
        [
            user("a"),
            assistant(
                "",
                reasoning_content="hm",
                reasoning_details=[
                    signature("s0"),
                    {"type": "reasoning.text", "format": "anthropic", "text": "a",
                     "signature": "x"},
                ],
            ),
            user("b"),
        ],
        [
            ("user", [{"text": "a"}]),
            ("model", [{"text": "", "thoughtSignature": "s0"}]),
            ("user", [{"text": "b"}]),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_contents(messages: list[dict[str, Any]], expected: list[tuple[str, Any]]) -> None:
    assert [(one["role"], one["parts"]) for one in contents(*messages)] == expected


def test_calls_of_another_model_say_so_to_models_that_want_a_signature() -> None:
    said = [
        user("a"),
        assistant(None, tool_calls=[call("c1"), call("c2")]),
        result("c1"),
        result("c2"),
        assistant(None, tool_calls=[call("c3")], reasoning_details=[signature("s", "c3")]),
        result("c3"),
    ]
    _, first, _, second, _ = contents(*said, of=LEVELS)
    assert first["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in first["parts"][1]
    assert second["parts"][0]["thoughtSignature"] == "s"
    assert "thoughtSignature" not in contents(*said)[1]["parts"][0]


def test_a_signature_of_another_model_of_geminis_is_none() -> None:
    other = {**signature("s", "c1"), "model": "model-2"}
    said = [user("a"), assistant(None, tool_calls=[call("c1")], reasoning_details=[other])]
    _, answered, _ = contents(*said, result("c1"), of=LEVELS)
    assert answered["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"


def test_documents_stand_after_their_names() -> None:
    (one,) = contents(user([paper("a.pdf"), paper(None), {"type": "text", "text": "Which?"}]))
    data = {"inlineData": {"mimeType": "application/pdf", "data": pdf_data()}}
    assert one["parts"] == [{"text": "a.pdf"}, data, data, {"text": "Which?"}]
    Content.model_validate(one)


def test_images_are_what_their_bytes_say() -> None:
    url = png()
    (one,) = contents(user([image(url.replace("image/png", "image/webp"))]))
    data = {"mimeType": "image/png", "data": url.partition(",")[2]}
    assert one["parts"] == [{"inlineData": data}]


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, None),
        ({"tool_choice": "none"}, "NONE"),
        ({"tool_choice": "none", "parallel_tool_calls": False}, "NONE"),
        ({"tool_choice": "required"}, "ANY"),
        ({"tool_choice": tool()}, "ANY"),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_how_tools_are_chosen(fields: dict[str, Any], mode: str | None) -> None:
    made = body(tools=[tool(), tool("time")], **fields)
    config = {"functionCallingConfig": {"mode": mode}} if mode else None
    assert made.get("toolConfig") == config


def test_tools_are_declared_with_what_gemini_cannot_say_in_words() -> None:
    schema = {"properties": {"n": {"type": "integer", "exclusiveMinimum": 0}}}
    given = [
        tool(),
        tool("time", description="Says it", parameters=schema),
        tool("free", parameters={}),
    ]
    assert body(tools=given)["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather"},
                {
                    "name": "time",
                    "description": "Says it",
                    "parametersJsonSchema": {
                        "type": "object",
                        "properties": {
                            "n": {"type": "integer", "description": "(exclusiveMinimum: 0)"}
                        },
                    },
                },
                {"name": "free"},
            ]
        }
    ]


def test_strict_tools_are_kept_to_their_schemas() -> None:
    made = body(tools=[tool(parameters=SCHEMA, strict=True)])
    assert made["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert made["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == SCHEMA


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


def test_json() -> None:
    config = body(response_format={"type": "json_object"})["generationConfig"]
    assert config == {"maxOutputTokens": 64_000, "responseMimeType": "application/json"}
    config = body(response_format=json_schema(SCHEMA))["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == SCHEMA


def test_how_an_answer_is_made() -> None:
    config = body(
        temperature=1.5,
        top_p=0.5,
        top_k=5,
        presence_penalty=1,
        frequency_penalty=-1,
        seed=-1,
        stop=["a", "b"],
        n=2,
        max_tokens=10,
    )["generationConfig"]
    assert config == {
        "temperature": 1.5,
        "topP": 0.5,
        "topK": 5,
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "seed": 2**31 - 1,
        "stopSequences": ["a", "b"],
        "candidateCount": 2,
        "maxOutputTokens": 10,
    }
    assert "topK" not in body(top_k=-1)["generationConfig"]


SHOWN = {"includeThoughts": True}


@pytest.mark.parametrize(
    ("of", "fields", "budget", "written"),
    [
        (LEVELS, {}, None, None),
        (LEVELS, {"enable_thinking": True}, None, SHOWN),
        (LEVELS, {"reasoning_effort": "medium"}, None, {**SHOWN, "thinkingLevel": "HIGH"}),
        (LEVELS, {"reasoning_effort": "minimal"}, None, {"thinkingLevel": "MINIMAL"}),
        (LEVELS, {"enable_thinking": False}, None, {"thinkingLevel": "MINIMAL"}),
        (LEVELS, {"enable_thinking": True}, 3000, {**SHOWN, "thinkingLevel": "LOW"}),
        (BUDGETS, {}, None, None),
        (BUDGETS, {"enable_thinking": True}, None, SHOWN),
        (BUDGETS, {"enable_thinking": False}, None, {"thinkingBudget": 0}),
        (
            BUDGETS,
            {"reasoning_effort": "low", "max_tokens": 1000},
            None,
            {**SHOWN, "thinkingBudget": 200},
        ),
        (BUDGETS, {"enable_thinking": True}, 9999, {**SHOWN, "thinkingBudget": 9999}),
        (NEVER_OFF, {"enable_thinking": False}, None, {"thinkingBudget": 128}),
        (model(efforts=()), {"reasoning_effort": "high"}, None, SHOWN),
    ],
)
def test_how_much_it_is_to_think(
    of: CloudModel, fields: dict[str, Any], budget: int | None, written: dict[str, Any] | None
) -> None:
    request = dataclasses.replace(ask(**fields), thinking_budget=budget)
    made = orjson.loads(PROTOCOL.encode(request, of).body)["generationConfig"]
    assert made.get("thinkingConfig") == written


@pytest.mark.parametrize(
    ("of", "fields", "param"),
    [
        (MODEL, {"logprobs": True}, "logprobs"),
        (MODEL, {"logit_bias": {"1": 1}}, "logit_bias"),
        (MODEL, {"min_p": 0.1}, "min_p"),
        (MODEL, {"repetition_penalty": 1.1}, "repetition_penalty"),
        (MODEL, {"stop": list("abcdef")}, "stop"),
        (MODEL, {"tools": [tool()], "parallel_tool_calls": False}, "parallel_tool_calls"),
        (MODEL, {"tools": [tool("1st")]}, "tools[0].function.name"),
        (
            MODEL,
            {
                "tools": [
                    tool(strict=True, parameters={"properties": {"a": {"minLength": 1}}}),
                ]
            },
            "tools[0].function.parameters.properties.a.minLength",
        ),
        (
            MODEL,
            {"response_format": json_schema({"type": "object", "minProperties": 1})},
            "response_format.json_schema.schema.minProperties",
        ),
        (without("temperature"), {"temperature": 0}, "temperature"),
    ],
)
def test_what_the_api_has_no_word_for_is_refused(
    of: CloudModel, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        body(of, **fields)
    assert caught.value.param == param
