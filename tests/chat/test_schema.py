from __future__ import annotations

from typing import Any

import pytest

from server.chat.schema import (
    MAX_ALTERNATIVES,
    MAX_NAME,
    MAX_NODES,
    MAX_PATTERN,
    MAX_PROPERTIES,
    bound_schemas,
    for_engines,
    parse_response_format,
)
from server.errors import RequestError
from tests.effort import cpu_seconds

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 80, "pattern": "^[A-Z][a-z]{0,79}$"},
        "mac": {"type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"},
        "uuid": {
            "type": "string",
            "pattern": "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
        },
        "pattern": {"type": "string"},
        "maxLength": {"type": "integer"},
        "$ref": {"type": "string"},
        "enum": {"type": "object", "properties": {}},
        "friends": {"type": "array", "maxItems": 1000, "items": {"$ref": "#/$defs/p"}},
        "level": {"enum": ["low", "high", 3, None]},
    },
    "$defs": {"p": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


def bound(schema: Any) -> None:
    bound_schemas([(schema, "s")])


def test_ordinary_schemas_pass() -> None:
    bound(PERSON)
    bound({})
    bound_schemas([])


@pytest.mark.parametrize(
    "pattern", [r"^\{2026\}$", r'^{"a": 1, 2026}$', "^a{b, 2026}$", "^[^{}]{1000}$", "^(a?{)}{9}$"]
)
def test_braces_without_a_count_say_nothing(pattern: str) -> None:
    bound({"pattern": pattern})


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"properties": {f"p{i}": {} for i in range(MAX_PROPERTIES + 1)}}, "members"),
        ({"properties": {"x" * (MAX_NAME + 1): {}}}, "letters"),
        ({"examples": [{}] * (MAX_NODES + 1)}, "objects and arrays"),
        ({"anyOf": [{}] * (MAX_ALTERNATIVES + 1)}, "more than 1000 alternatives"),
        ({"enum": ["a"] * (MAX_ALTERNATIVES + 1)}, "more than 1000 alternatives"),
        ({"oneOf": [{"anyOf": [{}] * 100}] * 10}, "more than 1000 alternatives"),
        ({"pattern": "^" + "a" * MAX_PATTERN}, "more than 512 characters"),
        ({"pattern": "^a{1001}$"}, "more than 1000 times"),
        ({"pattern": "^a{0,99999999999999999999}$"}, "more than 1000 times"),
        ({"pattern": "^(a?){1000}$"}, "written out"),
        ({"pattern": "^a{ +1001x}$"}, "more than 1000 times"),
        ({"pattern": "^a{0, 1001 x}$"}, "more than 1000 times"),
        ({"pattern": "^a{,1001}$"}, "more than 1000 times"),
        ({"pattern": "^\\\\{1001}$"}, "more than 1000 times"),
        ({"pattern": "^a?{900}$"}, "written out"),
        ({"pattern": "^(a?){900x}$"}, "written out"),
        ({"pattern": "^(a?){30}{30}$"}, "written out"),
        ({"pattern": "^((a?){30}){30}$"}, "written out"),
        ({"pattern": "^(((a?b?c?){10}){10}){10}$"}, "written out"),
        ({"items": {"pattern": "^(a?b?c?d?){250}$"}}, "written out"),
        ({"maxLength": 2**31}, "0 to 2147483647"),
        ({"minItems": -1}, "0 to 2147483647"),
        ({"maxItems": 1e19}, "0 to 2147483647"),
        ({"$ref": "https://example.org/schema.json"}, "only references"),
        ({"$ref": "file:///etc/passwd"}, "only references"),
        ({"$ref": "#"}, "only references"),
        ({"enum": ["x" * 20_001]}, "more than 20000 characters"),
        ({"const": "x" * 20_001}, "more than 20000 characters"),
    ],
)
def test_what_would_explode_is_refused(schema: dict[str, Any], says: str) -> None:
    for place in (schema, {"properties": {"a": schema}}, {"anyOf": [[schema]]}):
        with pytest.raises(RequestError) as caught:
            bound(place)
        assert says in caught.value.sentence


def test_the_bound_on_nodes_is_that_of_all_schemas_together() -> None:
    half: dict[str, Any] = {"examples": [{}] * (MAX_NODES // 2)}
    bound(half)
    with pytest.raises(RequestError, match="objects and arrays"):
        bound_schemas([(half, "a"), (half, "b")])


def test_the_bound_on_alternatives_is_that_of_each_schema() -> None:
    many = {"enum": list(range(MAX_ALTERNATIVES))}
    bound_schemas([(many, "a"), (many, "b")])


def test_it_is_fast_on_the_largest() -> None:
    schema = {"examples": [{"type": "string", "pattern": "^a{10}$"}] * (MAX_NODES - 2)}
    assert cpu_seconds(lambda: bound(schema)) < 0.5


@pytest.mark.parametrize("part", [" ", "0", "{", "a{", "a{0,", "{ 0 , "])
def test_a_pattern_is_passed_over_once(part: str) -> None:
    pattern = ("a{" + part * MAX_PATTERN)[:MAX_PATTERN]
    schema = {"examples": [{"pattern": pattern}] * 500}
    assert cpu_seconds(lambda: bound(schema)) < 0.5, "blanks alone once took 10 s, each"


def test_response_formats_keep_known_keys_only() -> None:
    assert parse_response_format({"type": "text"}, "r") is None
    assert parse_response_format({"type": "json_object", "schema": {}}, "r") == {
        "type": "json_object"
    }
    given = {
        "type": "json_schema",
        "json_schema": {"name": "person", "strict": True, "schema": PERSON, "grammar": "x"},
    }
    assert parse_response_format(given, "r") == {
        "type": "json_schema",
        "json_schema": {"name": "person", "strict": True, "schema": PERSON},
    }


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("json", "r"),
        ({}, "r.type"),
        ({"type": 1}, "r.type"),
        ({"type": "grammar"}, "r.type"),
        ({"type": "json_schema"}, "r.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "r.json_schema.schema"),
        (
            {"type": "json_schema", "json_schema": {"schema": {}, "strict": 1}},
            "r.json_schema.strict",
        ),
        (
            {"type": "json_schema", "json_schema": {"schema": {}, "name": ""}},
            "r.json_schema.name",
        ),
        (
            {"type": "json_schema", "json_schema": {"schema": {"maxItems": -1}}},
            "r.json_schema.schema.maxItems",
        ),
    ],
)
def test_broken_response_formats_are_named(given: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_response_format(given, "r")
    assert caught.value.param == param


def test_engines_are_not_told_of_counts_that_no_grammar_can_hold() -> None:
    schema = {
        "type": "object",
        "properties": {
            "script": {"type": "string", "maxLength": 524_288, "minLength": 1},
            "maxLength": {"type": "array", "items": {"maxItems": 1001}, "maxItems": 1000},
            "kept": {"const": {"maxLength": 5000}},
        },
    }
    assert for_engines(schema) == {
        "type": "object",
        "properties": {
            "script": {"type": "string", "minLength": 1},
            "maxLength": {"type": "array", "items": {}, "maxItems": 1000},
            "kept": {"const": {"maxLength": 5000}},
        },
    }
    assert for_engines(PERSON) is PERSON
