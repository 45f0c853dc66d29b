"""JSON schemas from a client: bounded before an engine turns them into a grammar.

llama-server compiles a schema (`response_format`, a tool's parameters) into grammar rules, and
walks them for every token of the vocabulary in the one thread that serves all its slots: measured,
the pattern `(((a?b?c?){10}){10}){10}` stopped everyone for a minute. So size and repetition are
bounded here. Counts beyond the bound, as agents have them (a script of up to 524,288 characters),
are for clouds: engines are not told of them (`for_engines`), and no answer comes near them.
Whether a schema makes sense is left to the engine, whose complaint is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from server.chat.checks import INT31, boolean, choice, invalid, mapping, string

MAX_NODES = 20_000
"""Objects and arrays in all schemas of a request together."""
MAX_PROPERTIES = 250
"""Per object: the rules for optional properties grow with their square (500 take 0.5 s)."""
MAX_ALTERNATIVES = 1000
"""Of `enum`, `anyOf` and the like in one schema, as many as OpenAI takes. Choosing among 1000 takes
a CPU core 0.6 s a token."""
MAX_NAME = 256
MAX_VALUES = 20_000
"""Characters of an `enum` or a `const`."""
MAX_PATTERN = 512
MAX_REPETITIONS = 1000
"""Of a character; and of an array's items or a string's characters, for engines."""
MAX_UNROLLED = 2000
"""Characters of a pattern once its repeated groups are written out."""

_COUNTS = frozenset(("minLength", "maxLength", "minItems", "maxItems"))
_VALUES = frozenset(("enum", "const", "default", "examples"))
_LISTS = frozenset(("enum", "anyOf", "oneOf", "allOf"))
_REPETITION = re.compile(r"([^\\]|\\\\)\{\s*+(?:[+-]?(\d++)[^,}]*+)?+(?:,\s*+[+-]?(\d++))?+")
"""What stands before a brace (behind one backslash it is a letter), and the two counts in it, which
are what llama-server's `std::stoi` takes for them: 900 in `{ +900x}`, too. The brace that closes is
left: it may be what the next ones repeat. However it is made, a pattern is passed over once."""
_COMPOUND = frozenset(")?*+}")  # what ends a group, or what is repeated already

_format = choice("text", "json_object", "json_schema")
_schema_name = string(64, shortest=1)
_description = string(65_536)


def bound_schemas(schemas: Iterable[tuple[dict[str, Any], str]]) -> None:
    """Raises RequestError where the (schema, its name in the request) go beyond the bounds."""
    nodes = 0
    for schema, name in schemas:
        alternatives = 0
        pending: list[tuple[Any, str]] = [(schema, name)]
        while pending:
            node, place = pending.pop()
            nodes += 1
            if nodes > MAX_NODES:
                raise invalid(name, f"the schemas have more than {MAX_NODES} objects and arrays")
            if type(node) is list:
                pending += [(child, place) for child in node if type(child) in (dict, list)]
                continue
            alternatives += _bound_object(node, place)
            if alternatives > MAX_ALTERNATIVES:
                raise invalid(name, f"it has more than {MAX_ALTERNATIVES} alternatives")
            pending += [
                (child, f"{place}.{key}")
                for key, child in node.items()
                if type(child) in (dict, list)
            ]


def for_engines(schema: Any) -> Any:
    """The schema without counts beyond MAX_REPETITIONS; the same object where it has none."""
    if type(schema) is list:
        items = [for_engines(one) for one in schema]
        return items if any(a is not b for a, b in zip(items, schema, strict=True)) else schema
    if type(schema) is not dict:
        return schema
    kept = {
        key: value if key in _VALUES else for_engines(value)
        for key, value in schema.items()
        if not (key in _COUNTS and type(value) in (int, float) and value > MAX_REPETITIONS)
    }
    same = len(kept) == len(schema) and all(kept[key] is schema[key] for key in kept)
    return schema if same else kept


def parse_response_format(value: Any, name: str) -> dict[str, Any] | None:
    """`text` -> None; `json_object` and `json_schema` -> the object with known keys only."""
    form = mapping(value, name)
    kind = _format(form.get("type"), f"{name}.type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    place = f"{name}.json_schema"
    wrapper = mapping(form.get("json_schema"), place)
    schema = mapping(wrapper.get("schema"), f"{place}.schema")
    bound_schemas([(schema, f"{place}.schema")])
    kept: dict[str, Any] = {"schema": schema}
    for key, check in (("name", _schema_name), ("description", _description), ("strict", boolean)):
        if wrapper.get(key) is not None:
            kept[key] = check(wrapper[key], f"{place}.{key}")
    return {"type": "json_schema", "json_schema": kept}


def _bound_object(node: dict[str, Any], place: str) -> int:
    """Returns how many alternatives it lists."""
    if len(node) > MAX_PROPERTIES:
        raise invalid(place, f"it has more than {MAX_PROPERTIES} members")
    alternatives = 0
    for key, value in node.items():
        if len(key) > MAX_NAME:
            raise invalid(place, f"the name '{key[:32]}...' has more than {MAX_NAME} letters")
        if key in _LISTS and type(value) is list:
            alternatives += len(value)
        if type(value) is not dict:  # else it is a property that is called `pattern` or so
            _bound_keyword(key, value, f"{place}.{key}")
    return alternatives


def _bound_keyword(key: str, value: Any, place: str) -> None:
    if key == "pattern" and type(value) is str:
        _bound_pattern(value, place)
    elif key == "$ref" and type(value) is str:
        if not value.startswith("#/") or len(value) > MAX_NAME:
            raise invalid(place, "only references into the schema itself ('#/...') are followed")
    elif key in _COUNTS and type(value) in (int, float):
        if not 0 <= value <= INT31:
            raise invalid(place, f"expected 0 to {INT31}, but got {value:g} instead")
    elif key in ("enum", "const"):
        values = value if type(value) is list else [value]
        if sum(len(one) for one in values if type(one) is str) > MAX_VALUES:
            raise invalid(place, f"its values have more than {MAX_VALUES} characters")


def _bound_pattern(pattern: str, place: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise invalid(place, f"the pattern has more than {MAX_PATTERN} characters")
    unrolled = len(pattern)
    for before, low, high in _REPETITION.findall(pattern):
        times = max(int(low or 0), int(high or 0))
        if times > MAX_REPETITIONS:
            raise invalid(place, f"it repeats a part more than {MAX_REPETITIONS} times")
        if before in _COMPOUND:
            unrolled *= max(1, times)
    if unrolled > MAX_UNROLLED:
        raise invalid(place, f"written out, it has more than {MAX_UNROLLED} characters")
