"""JSON schemas for targets that know a part of JSON Schema only.

A schema that binds (`response_format`, a tool with `strict`) is refused where the target could not
hold the model to all of it. One that only describes (any other tool) is told whole: what the target
has no keyword for goes into the description, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import orjson

from server.chat.checks import invalid
from server.errors import RequestError

_MAPS = frozenset(("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_SINGLE = frozenset(
    ("items", "additionalProperties", "unevaluatedProperties", "propertyNames", "contains")
) | frozenset(("not", "if", "then", "else"))
_ABOUT_ITSELF = frozenset(("$schema", "$id", "$comment", "$anchor"))

Schema = dict[str, Any]


def subschemas(schema: Schema, place: str) -> Iterator[tuple[Schema, str]]:
    """Each object of `schema` that is a schema itself, and its place."""
    pending = [(schema, place)]
    while pending:
        node, place = pending.pop()
        yield node, place
        for key, value in node.items():
            at = f"{place}.{key}"
            if key in _MAPS and type(value) is dict:
                children = [(one, f"{at}.{name}") for name, one in value.items()]
            elif key in _LISTS and type(value) is list:
                children = [(one, f"{at}[{index}]") for index, one in enumerate(value)]
            elif key in _SINGLE:
                children = [(value, at)]
            else:
                continue
            pending += [child for child in children if type(child[0]) is dict]


def copy_of(schema: Mapping[str, Any]) -> Schema:
    copied: Schema = orjson.loads(orjson.dumps(schema))
    return copied


def bound(
    schema: Mapping[str, Any], place: str, what: str, lacks: Callable[[Schema], str | None]
) -> Schema:
    """A copy of a schema that binds. `lacks` names the first keyword of an object that the target
    cannot hold a model to.

    Raises RequestError naming `what` the schema is of, and the keyword.
    """
    copied = copy_of(schema)
    for node, at in subschemas(copied, place):
        keyword = lacks(node)
        if keyword is not None:
            raise schema_refused(f"{at}.{keyword}", what, keyword)
    return copied


def described(schema: Mapping[str, Any], known: Collection[str]) -> Schema:
    """A copy of a schema that describes, with the keywords in `known` alone; the others follow the
    description of their object: `(minLength: 1, pattern: "^a")`."""
    copied = copy_of(schema)
    for node, _ in list(subschemas(copied, "")):
        others = {key: node.pop(key) for key in list(node) if key not in known}
        words = ", ".join(
            f"{key}: {orjson.dumps(value).decode()}"
            for key, value in others.items()
            if key not in _ABOUT_ITSELF
        )
        if words:
            node["description"] = f"{node.get('description', '')} ({words})".lstrip()
    return copied


def schema_refused(param: str, what: str, keyword: str) -> RequestError:
    return invalid(
        param,
        f"the schema of {what} has '{keyword}', which this model cannot be held to",
        "Leave it out, or ask for another model",
    )
