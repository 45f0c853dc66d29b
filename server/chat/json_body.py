"""The request body: bytes -> a JSON object within bounds."""

from __future__ import annotations

from typing import Any

import orjson

from server.errors import RequestError

MAX_DEPTH = 64
"""Objects and arrays inside one another, the body itself counted. The engine's parser and the
chat template both recurse."""
MAX_CONTAINERS = 250_000
MAX_MEMBERS = 2_000_000
"""A body of `[[],[],...]` takes forty times its size in memory once parsed: the characters that
make containers and members are counted first. A full context of 262,144 tokens stays far below."""


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`.

    Raises RequestError for malformed or truncated JSON (with line and column), invalid UTF-8, NaN
    and Infinity, a top level that is not an object, and for bodies that are nested or branched
    beyond the bounds above. Of duplicate keys the last one counts, for Holdfast and engine alike,
    because what is sent on is written anew. Integers beyond 64 bits become floating-point numbers
    and are refused wherever an integer is expected.
    """
    opened = body.count(b"{") + body.count(b"[")
    if opened > MAX_CONTAINERS or body.count(b",") > MAX_MEMBERS:
        raise RequestError(
            "The request body holds too many JSON values",
            why=f"at most {MAX_CONTAINERS} objects and arrays and {MAX_MEMBERS} members are read",
        )
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(error) from None
    if type(parsed) is not dict:
        raise RequestError(
            "The request body is not a JSON object", next_step='Send {"model": ..., ...}'
        )
    if opened > MAX_DEPTH and _deeper_than(parsed, MAX_DEPTH):
        raise _too_deep()
    return parsed


def _malformed(error: orjson.JSONDecodeError) -> RequestError:
    if "depth limit" in error.msg:
        return _too_deep()
    return RequestError(
        "We could not parse the JSON body of your request",
        why=f"{error.msg} at line {error.lineno} column {error.colno}",
        next_step="Send one JSON object in UTF-8",
    )


def _too_deep() -> RequestError:
    return RequestError(
        "The request body is nested too deeply",
        why=f"objects and arrays may stand at most {MAX_DEPTH} deep in one another",
    )


def _deeper_than(value: object, limit: int) -> bool:
    """Breadth first, so that hostile nesting costs no recursion; strings are never looked into."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
