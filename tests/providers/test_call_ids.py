from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from server.catalogue.cloud import Kind
from server.providers import PROTOCOLS
from server.providers.call_ids import identified
from tests.providers.clouds import MODEL, ask, assistant, call, result, user

BARE = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
OTHER = {"type": "function", "function": {"name": "g", "arguments": "{}"}}
Body = dict[str, Any]
Ids = Iterator[tuple[str, str | None]]


def of_chat(body: Body) -> Ids:
    for message in body["messages"]:
        for one in message.get("tool_calls", ()):
            yield one["id"], one["function"]["name"]
        if message["role"] == "tool":
            yield message["tool_call_id"], None


def of_responses(body: Body) -> Ids:
    yield from ((one["call_id"], one.get("name")) for one in body["input"] if "call_id" in one)


def of_anthropic(body: Body) -> Ids:
    for turn in body["messages"]:
        for block in turn["content"]:
            if block["type"] == "tool_use":
                yield block["id"], block["name"]
            elif block["type"] == "tool_result":
                yield block["tool_use_id"], None


def of_gemini(body: Body) -> Ids:
    """An answer has the name of its function as well."""
    for content in body["contents"]:
        for part in content["parts"]:
            said = part.get("functionCall") or part.get("functionResponse")
            if said is not None:
                yield said["id"], said["name"]


READ: dict[Kind, Callable[[Body], Ids]] = {
    "openai": of_chat,
    "openai-responses": of_responses,
    "anthropic": of_anthropic,
    "gemini": of_gemini,
}


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_calls_without_an_id_get_that_of_their_answers(kind: Kind) -> None:
    said = [
        user("a"),
        assistant(None, tool_calls=[BARE, call("y"), OTHER]),
        result("y"),
        result("x"),
        result("z"),
        user("b"),
    ]
    body = orjson.loads(PROTOCOLS[kind].encode(ask(*said), MODEL).body)
    calls = [("x", "f"), ("y", "weather"), ("z", "g")]
    names = dict(calls) if kind == "gemini" else {}
    assert list(READ[kind](body)) == [*calls, *((one, names.get(one)) for one in "yxz")]


def test_only_calls_that_lack_an_id_get_one() -> None:
    said = ask(
        user("a"), assistant("b"), assistant(None, tool_calls=[call("y")]), result("x"),
        assistant(None, tool_calls=[BARE, call("y"), OTHER]), result("x"), user("c"),
        assistant(None, tool_calls=[BARE]), result("y"),
    ).messages  # fmt: skip
    *same, short, answer, question, last, end = identified(said)
    assert all(one is given for one, given in zip(same, said[:4], strict=True))
    assert (answer, question, end) == (said[5], said[6], said[8])
    assert [one["id"] for one in short["tool_calls"]] == ["x", "y", "call_2"]
    assert [one["id"] for one in last["tool_calls"]] == ["y"]
    assert "id" not in said[4]["tool_calls"][0], "the request is as it was"
