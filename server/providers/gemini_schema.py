"""JSON schemas in the part of JSON Schema that Gemini knows (`parametersJsonSchema`,
`responseJsonSchema`): https://ai.google.dev/api/generate-content#GenerationConfig.

Written otherwise, with the same meaning: `const` as an `enum` of one, `allOf` of one as `anyOf` of
one, `definitions` as `$defs`, and a `$ref` with anything beside it as `anyOf` of that `$ref`, since
Gemini wants it alone. `default` and `examples`, which bind nothing, do not count as lacking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.providers.schemas import Schema, bound, copy_of, described, subschemas

KNOWN = frozenset(("$defs", "$ref", "type", "format", "title", "description", "enum"))
KNOWN |= {"items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf"}
KNOWN |= {"properties", "required", "additionalProperties", "propertyOrdering"}
_BIND_NOTHING = frozenset(("$schema", "$id", "$comment", "$anchor", "default", "examples"))
_BIND_NOTHING |= {"deprecated", "readOnly", "writeOnly"}


def describing(schema: Mapping[str, Any]) -> Schema:
    """The schema of a tool: what Gemini has no word for is told in words."""
    return described(_rewritten(schema), KNOWN)


def binding(schema: Mapping[str, Any], place: str, what: str) -> Schema:
    """A schema that Gemini must keep. Raises RequestError, naming the keyword, where it cannot."""
    kept = bound(_rewritten(schema), place, what, _lacks)
    for node, _ in list(subschemas(kept, "")):
        for key in _BIND_NOTHING & node.keys():
            del node[key]
    return kept


def _lacks(node: Schema) -> str | None:
    return next((key for key in node if key not in KNOWN and key not in _BIND_NOTHING), None)


def _rewritten(schema: Mapping[str, Any]) -> Schema:
    copied = copy_of(schema)
    for node, _ in list(subschemas(copied, "")):
        if type(node.get("definitions")) is dict:
            node["$defs"] = {**node.pop("definitions"), **node.get("$defs", {})}
        if "const" in node and type(node["const"]) in (str, int, float):
            node["enum"] = [node.pop("const")]
        alternatives = node.get("allOf")
        if type(alternatives) is list and len(alternatives) == 1 and "anyOf" not in node:
            node["anyOf"] = node.pop("allOf")
        if type(node.get("$ref")) is str:
            reference = node["$ref"].replace("#/definitions/", "#/$defs/")
            node["$ref"] = reference
            if "anyOf" not in node and any(not key.startswith("$") for key in node):
                node["anyOf"] = [{"$ref": node.pop("$ref")}]
    return copied
