"""What an answer must look like: JSON, a schema, a call of a function."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from tokenizers import Tokenizer

from server import demo
from server.demo import question
from tests.integration.asking import Subject, chat

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

WHAT = question("what-is-holdfast")
NAME = {"type": "string", "pattern": "^[A-Z][a-z]{1,7}$"}


def person(name: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"name": name, "age": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    return form(schema)


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": schema}}


async def test_a_schema_is_enforced(subject: Subject) -> None:
    choice = await subject.answer(**chat(WHAT, max_tokens=64, response_format=person(NAME)))
    found = orjson.loads(choice["message"]["content"])
    assert list(found) == ["name", "age"]
    assert found["name"].isalpha()
    assert 1 <= found["age"] <= 9


async def test_a_schema_is_enforced_after_thinking(subject: Subject) -> None:
    asked = chat(WHAT, enable_thinking=True, response_format=form({"enum": ["red", "green"]}))
    message = (await subject.answer(**asked))["message"]
    assert message["reasoning"]
    assert orjson.loads(message["content"]) in ("red", "green")


async def test_a_pattern_with_bounds_of_its_length(subject: Subject) -> None:
    bounded = person({**NAME, "maxLength": 8})
    asked = await subject.ask(**chat(WHAT, max_tokens=64, response_format=bounded))
    if subject.differs("pattern with length"):
        assert (asked.status, asked.error["type"]) == (400, "invalid_request_error")
        assert "JSON schema" in asked.error["message"]
        assert "not supported" in asked.error["message"]
    else:
        (choice,) = asked.check()["choices"]
        assert len(orjson.loads(choice["message"]["content"])["name"]) <= 8


async def test_any_json_object(subject: Subject) -> None:
    asked = chat(WHAT, max_tokens=64, response_format={"type": "json_object"})
    choice = await subject.answer(**asked)
    assert choice["message"]["content"].lstrip().startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(orjson.loads(choice["message"]["content"]), dict)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "f"}}], ids=["any", "named"]
)
async def test_a_call_is_forced(choice: Any, subject: Subject) -> None:
    """Of two tools the named one; a tool without parameters leaves no choice.

    Where the engine waits for the model to begin a call, the model is pushed to.
    """
    begin = Tokenizer.from_file(str(demo.SAFETENSORS / "tokenizer.json")).token_to_id("<tool_call>")
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    named = isinstance(choice, dict)
    waits = subject.differs("call forced once begun")
    picked = await subject.answer(
        **chat(
            WHAT,
            max_tokens=200,
            tools=tools if named else tools[:1],
            tool_choice=choice,
            parallel_tool_calls=False,
            logit_bias={str(begin): 100} if waits else {},
        )
    )
    calls = picked["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["f"]
    assert all(call["id"] and call["type"] == "function" for call in calls)
    left = "<tool_call>" if subject.differs("spelt tag stays") else None
    assert (picked["message"]["content"] or "").strip() in ("", left)
    assert picked["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"type": "string", "pattern": "^(a$"},
        {"$ref": "#/nope"},
        {"type": "object", "properties": {"a": {"type": "nope"}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_schema_that_means_nothing_is_the_clients_fault(
    schema: dict[str, Any], stream: bool, subject: Subject
) -> None:
    asked = await subject.ask(**chat(WHAT, response_format=form(schema), stream=stream))
    told = asked.error["message"]
    assert asked.error["type"] == "invalid_request_error"
    assert "schema" in told
    assert ".cc" not in told, "where in the engine's code it was is nobody's business"
    assert not re.search(r"\d\d:\d\d", told)
    assert asked.status == 400, "nothing is sent before the first word"
