from __future__ import annotations

from typing import Any

import pytest

from server.errors import RequestError
from server.providers.gemini_schema import KNOWN, binding, describing
from server.providers.schemas import subschemas

CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"const": "a"}, {"enum": ["a"]}),
    ({"allOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
    (
        {"$ref": "#/$defs/a", "description": "An a."},
        {"anyOf": [{"$ref": "#/$defs/a"}], "description": "An a."},
    ),
    ({"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}),
    (
        {"definitions": {"a": {"const": 1}}, "$ref": "#/definitions/a"},
        {"$defs": {"a": {"enum": [1]}}, "$ref": "#/$defs/a"},
    ),
    (
        {"type": ["string", "null"], "title": "T", "format": "date"},
        {"type": ["string", "null"], "title": "T", "format": "date"},
    ),
    (
        {"type": "array", "items": {"const": "x"}, "minItems": 1, "maxItems": 3},
        {"type": "array", "items": {"enum": ["x"]}, "minItems": 1, "maxItems": 3},
    ),
]


@pytest.mark.parametrize(("schema", "written"), CASES)
def test_what_means_the_same_is_written_as_gemini_knows_it(
    schema: dict[str, Any], written: dict[str, Any]
) -> None:
    assert binding(schema, "s", "x") == written
    assert describing(schema) == written


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "string", "minLength": 1}, "minLength"),
        ({"type": "string", "pattern": "a"}, "pattern"),
        ({"type": "integer", "exclusiveMinimum": 0}, "exclusiveMinimum"),
        ({"type": "number", "multipleOf": 2}, "multipleOf"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"allOf": [{}, {}]}, "allOf"),
        ({"not": {}}, "not"),
        ({"if": {}}, "if"),
        ({"patternProperties": {}}, "patternProperties"),
        ({"const": None}, "const"),
    ],
)
def test_what_it_lacks_is_told_in_words_or_refused_by_name(
    schema: dict[str, Any], keyword: str
) -> None:
    whole = {"type": "object", "properties": {"p": schema}}
    with pytest.raises(RequestError, match=f"the tool 'f' has '{keyword}'") as caught:
        binding(whole, "s", "the tool 'f'")
    assert caught.value.param == f"s.properties.p.{keyword}"
    told = describing(whole)
    assert all(node.keys() <= KNOWN for node, _ in subschemas(told, ""))
    assert f"{keyword}:" in told["properties"]["p"]["description"]


def test_what_binds_nothing_is_left_out_of_what_binds() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {"a": {"default": 1, "examples": [1]}},
    }
    assert binding(schema, "s", "x") == {"type": "object", "properties": {"a": {}}}
    assert describing(schema)["properties"]["a"]["description"] == "(default: 1, examples: [1])"
