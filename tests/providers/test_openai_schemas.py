from __future__ import annotations

from typing import Any

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel

from server.errors import RequestError
from server.providers import PROTOCOLS
from server.providers.openai_schemas import check_strict
from tests.providers.clouds import MODEL, ask, tool

TEXT = {"type": "string"}


def thing(**fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"a": TEXT},
        "required": ["a"],
        "additionalProperties": False,
        **fields,
    }


class Inner(BaseModel):
    names: list[str]
    size: int | None


class Outer(BaseModel):
    one: Inner
    many: list[Inner]


@pytest.mark.parametrize(
    "schema",
    [
        thing(),
        thing(properties={}, required=[]),
        thing(properties={"a": thing(), "b": {"anyOf": [thing(), {"type": "null"}]}},
              required=["b", "a"]),
        thing(properties={"a": {"$ref": "#/$defs/t"}}, **{"$defs": {"t": thing()}}),
        thing(properties={"a": {**TEXT, "pattern": "^a", "enum": ["a"]}}),
        thing(properties={"not": TEXT, "if": TEXT}, required=["if", "not"]),
        to_strict_json_schema(Outer),
    ],
)  # fmt: skip
def test_what_the_api_can_hold_a_model_to(schema: dict[str, Any]) -> None:
    check_strict(schema, "s", "the answer")


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "array", "items": TEXT}, "s"),
        ({"anyOf": [thing()]}, "s"),
        (thing(anyOf=[thing()]), "s"),
        (thing(additionalProperties=True), "s.additionalProperties"),
        ({"type": "object"}, "s.additionalProperties"),
        (thing(required=[]), "s.required"),
        (thing(required="a"), "s.required"),
        (thing(properties={"a": {"allOf": [TEXT]}}), "s.properties.a.allOf"),
        (thing(properties={"a": {"not": TEXT}}), "s.properties.a.not"),
        (thing(properties={"a": {"type": "array", "items": thing(required=[])}}),
         "s.properties.a.items.required"),
        (thing(properties={"a": {"properties": {}}}), "s.properties.a.additionalProperties"),
    ],
)  # fmt: skip
def test_what_is_beyond_it_is_named(schema: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError, match="the answer") as caught:
        check_strict(schema, "s", "the answer")
    assert caught.value.param == param


def test_only_strict_schemas_are_looked_at() -> None:
    protocol = PROTOCOLS["openai-responses"]
    open_object = {"type": "object", "properties": {"a": TEXT}}

    def encode(*, strict: bool | None) -> None:
        form = {"type": "json_schema", "json_schema": {"schema": open_object, "strict": strict}}
        protocol.encode(ask(response_format=form), MODEL)

    def encode_tool(*, strict: bool | None) -> None:
        protocol.encode(ask(tools=[tool(parameters=open_object, strict=strict)]), MODEL)

    for give in (encode, encode_tool):
        give(strict=None)
        give(strict=False)
        with pytest.raises(RequestError, match="strict"):
            give(strict=True)
