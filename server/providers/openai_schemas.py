"""Schemas that OpenAI is to hold a model to: those with `strict`.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas. What is beyond them is
refused here, where its place can be named and another target found; the API would refuse it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.chat.checks import invalid
from server.providers.schemas import Schema, schema_refused, subschemas

_UNKNOWN = frozenset(
    ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else")
)
_MEND = "Write it so, or leave out 'strict'"


def check_strict(schema: Mapping[str, Any], place: str, what: str) -> None:
    """Raises RequestError naming `what` the schema at `place` is of, and where it goes beyond."""
    root = dict(schema)
    if root.get("type") != "object" or "anyOf" in root:
        why = f"{what} is strict, so that the schema must be of type 'object', and no 'anyOf'"
        raise invalid(place, why, _MEND)
    for node, at in subschemas(root, place):
        keyword = next((key for key in node if key in _UNKNOWN), None)
        if keyword is not None:
            raise schema_refused(f"{at}.{keyword}", what, keyword)
        if node.get("type") == "object" or "properties" in node:
            _check_object(node, at, what)


def _check_object(node: Schema, at: str, what: str) -> None:
    if node.get("additionalProperties") is not False:
        why = f"{what} is strict, so that every object must have 'additionalProperties': false"
        raise invalid(f"{at}.additionalProperties", why, _MEND)
    properties, required = node.get("properties"), node.get("required")
    known = required if isinstance(required, list) else []
    for name in properties if isinstance(properties, dict) else ():
        if name not in known:
            why = f"{what} is strict, so that all properties must be required; '{name[:64]}' is not"
            raise invalid(f"{at}.required", why, _MEND)
