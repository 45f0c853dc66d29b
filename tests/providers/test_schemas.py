from __future__ import annotations

from typing import Any

import pytest

from server.errors import RequestError
from server.providers.schemas import bound, described, subschemas

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "minimum": {"type": "integer", "minimum": 1},
        "names": {"type": "array", "items": {"type": "string", "pattern": "^a"}},
        "either": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]},
    },
    "$defs": {"x": {"description": "An x.", "not": {"const": 1}}},
    "additionalProperties": {"enum": ["properties"]},
}


def test_every_schema_within_is_found_and_no_value() -> None:
    assert {place for _, place in subschemas(SCHEMA, "s")} == {
        "s",
        "s.properties.minimum",
        "s.properties.names",
        "s.properties.names.items",
        "s.properties.either",
        "s.properties.either.anyOf[0]",
        "s.properties.either.anyOf[1]",
        "s.$defs.x",
        "s.$defs.x.not",
        "s.additionalProperties",
    }


def test_depth_costs_no_recursion() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"items": schema}
    assert len(list(subschemas(schema, ""))) == 201


def test_a_keyword_that_cannot_bind_is_refused_by_its_place() -> None:
    with pytest.raises(RequestError) as caught:
        bound(SCHEMA, "s", "the tool 'f'", lambda node: "minimum" if "minimum" in node else None)
    assert caught.value.param == "s.properties.minimum.minimum"
    assert "the tool 'f' has 'minimum'" in caught.value.sentence


def test_what_binds_is_a_copy() -> None:
    copied = bound(SCHEMA, "s", "x", lambda node: None)
    assert copied == SCHEMA
    copied["properties"].clear()
    assert SCHEMA["properties"]


def test_what_only_describes_is_told_in_words() -> None:
    known = ("type", "properties", "items", "anyOf", "$ref", "$defs", "description")
    told = described(SCHEMA, known)
    assert told == {
        "type": "object",
        "description": '(additionalProperties: {"enum":["properties"]})',
        "properties": {
            "minimum": {"type": "integer", "description": "(minimum: 1)"},
            "names": {
                "type": "array",
                "items": {"type": "string", "description": '(pattern: "^a")'},
            },
            "either": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]},
        },
        "$defs": {"x": {"description": 'An x. (not: {"const":1})'}},
    }
    assert SCHEMA["properties"]["minimum"]["minimum"] == 1
