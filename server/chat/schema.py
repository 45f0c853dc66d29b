"""JSON schemas from a client: bounded before an engine turns them into a grammar.

The engine compiles a schema (`response_format`, a tool's parameters) into grammar rules. Long
names and nested repetitions make that explode in time, memory or stack, so their size is bounded
here; whether a schema makes sense is left to the engine, whose own complaint is passed on.
"""

from __future__ import annotations

import re
from typing import Any

from server.chat.checks import invalid, mapping, wrong_type
from server.errors import RequestError

MAX_NODES = 5000
MAX_PROPERTIES = 500
MAX_NAME = 256
MAX_ENUM_CHARACTERS = 20_000
MAX_PATTERN = 512
MAX_REPETITIONS = 1000

_COUNTS = frozenset(("minLength", "maxLength", "minItems", "maxItems"))
_BRACES = re.compile(r"\{\s*(\d*)\s*(?:,\s*(\d*)\s*)?\}")


def parse_schema(value: Any, name: str) -> dict[str, Any]:
    """`value` if it is an object within the bounds above; raises RequestError otherwise."""
    schema = mapping(value, name)
    pending: list[tuple[Any, str]] = [(schema, name)]
    seen = 0
    while pending:
        node, place = pending.pop()
        seen += 1
        if seen > MAX_NODES:
            raise invalid(name, f"the schema has more than {MAX_NODES} objects and arrays")
        if type(node) is list:
            pending += [(child, place) for child in node if type(child) in (dict, list)]
            continue
        if len(node) > MAX_PROPERTIES:
            raise invalid(place, f"it has more than {MAX_PROPERTIES} members")
        for key, child in node.items():
            _member(key, child, place)
            if type(child) is dict or type(child) is list:
                pending.append((child, f"{place}.{key}"))
    return schema


def _member(key: str, value: Any, place: str) -> None:
    if len(key) > MAX_NAME:
        raise invalid(place, f"the name '{key[:32]}...' is longer than {MAX_NAME} characters")
    place = f"{place}.{key}"
    # A property may be called `pattern`: then its value is a schema, not a string.
    if key == "pattern" and type(value) is str:
        _pattern(value, place)
    elif key == "$ref" and type(value) is str:
        if not value.startswith("#") or len(value) > MAX_NAME:
            raise invalid(place, "only references into the schema itself are followed")
    elif key in _COUNTS and type(value) in (int, float):
        if not 0 <= value <= MAX_REPETITIONS:
            raise invalid(place, f"expected 0 to {MAX_REPETITIONS}, but got {value:g} instead")
    elif key == "enum" and type(value) is list:
        if sum(len(one) for one in value if type(one) is str) > MAX_ENUM_CHARACTERS:
            raise invalid(place, f"its values have more than {MAX_ENUM_CHARACTERS} characters")
    elif key == "const" and type(value) is str and len(value) > MAX_ENUM_CHARACTERS:
        raise invalid(place, f"it has more than {MAX_ENUM_CHARACTERS} characters")


def _pattern(pattern: str, place: str) -> None:
    """Bounds what a pattern unrolls to: the product of its counted repetitions."""
    if len(pattern) > MAX_PATTERN:
        raise invalid(place, f"the pattern is longer than {MAX_PATTERN} characters")
    unrolled = 1
    for low, high in _BRACES.findall(pattern):
        unrolled *= max(1, _count(low, place), _count(high, place))
        if unrolled > MAX_REPETITIONS:
            raise invalid(place, f"the pattern's repetitions unroll beyond {MAX_REPETITIONS}")


def _count(digits: str, place: str) -> int:
    if len(digits) > 9:
        raise invalid(place, f"the pattern's repetitions unroll beyond {MAX_REPETITIONS}")
    return int(digits) if digits else 0


def parse_response_format(value: Any, name: str) -> dict[str, Any] | None:
    """`text` -> None; `json_object` and `json_schema` -> the object with known keys only."""
    form = mapping(value, name)
    kind = form.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise _unsupported(kind, f"{name}.type")
    place = f"{name}.json_schema"
    wrapper = mapping(form.get("json_schema"), place)
    return {
        "type": "json_schema",
        "json_schema": {"schema": parse_schema(wrapper.get("schema"), f"{place}.schema")},
    }


def _unsupported(kind: Any, name: str) -> RequestError:
    if type(kind) is not str:
        return wrong_type(name, "a string", kind)
    return RequestError(
        f"Invalid value for '{name}'",
        why=f"'{kind[:64]}' is not supported",
        next_step="Supported values are: 'text', 'json_object', 'json_schema'",
        param=name,
    )
