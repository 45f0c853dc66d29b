"""What an agent hears: a stream of its dialect, each event of which must be as its client's own
types have it, and in an order that its client can follow. AssertionError says what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

_MESSAGE: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_RESPONSE: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


@dataclass(slots=True)
class Heard:
    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Names and arguments: an object, or the text that a custom tool gets."""
    ended: str = ""
    """Why, in the dialect's word."""


def heard(dialect: str, stream: bytes) -> Heard:
    return _DIALECTS[dialect](stream)


def _events(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and data of each event; comments are skipped, as every client does."""
    assert stream.endswith(b"\n\n"), stream[-200:]
    for block in stream.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if fields:
            yield fields.get("event", ""), fields["data"].encode()


def _chat(stream: bytes) -> Heard:
    said = Heard()
    arguments: dict[int, tuple[str, list[str]]] = {}
    ended = False
    for _, data in _events(stream):
        assert not ended, "something follows [DONE]"
        ended = data == b"[DONE]"
        if ended:
            continue
        chunk = ChatCompletionChunk.model_validate_json(data)
        for choice in chunk.choices:
            assert not said.ended, "something follows the finish_reason"
            said.text += choice.delta.content or ""
            for part in choice.delta.tool_calls or ():
                assert part.function is not None
                if part.index not in arguments:
                    assert part.id, "a call begins with its id"
                    assert part.function.name, "and its name"
                    arguments[part.index] = (part.function.name, [])
                arguments[part.index][1].append(part.function.arguments or "")
            said.ended = choice.finish_reason or ""
    assert ended, "no [DONE]"
    said.calls = [(name, orjson.loads("".join(all_))) for name, all_ in arguments.values()]
    return said


def _messages(stream: bytes) -> Heard:
    said, opened, index, kinds = Heard(), None, -1, []
    block: dict[str, Any] = {}
    for name, data in _events(stream):
        event = orjson.loads(data)
        assert event["type"] == name
        if name == "ping":
            continue
        _MESSAGE.validate_json(data)
        kinds.append(name)
        if name == "content_block_start":
            assert opened is None, "a block begins within another"
            index += 1
            opened, block = event["index"], {**event["content_block"], "json": ""}
            assert opened == index
        elif name == "content_block_delta":
            assert event["index"] == opened, "a delta of no open block"
            delta = event["delta"]
            if delta["type"] == "input_json_delta":
                block["json"] += delta["partial_json"]
            else:
                key = _TEXTS[delta["type"]]
                block[key] += delta[key]
        elif name == "content_block_stop":
            assert event["index"] == opened
            opened = None
            if block["type"] == "text":
                said.text += block["text"]
            elif block["type"] == "tool_use":
                said.calls.append((block["name"], orjson.loads(block["json"] or "{}")))
        elif name == "message_delta":
            said.ended = event["delta"]["stop_reason"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert opened is None
    return said


def _responses(stream: bytes) -> Heard:
    said = Heard()
    open_: set[int] = set()
    items: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    for number, (name, data) in enumerate(_events(stream)):
        _RESPONSE.validate_json(data)
        last = orjson.loads(data)
        assert (last["type"], last["sequence_number"]) == (name, number)
        kind = name.removeprefix("response.")
        if number < 2:
            assert kind == ("created", "in_progress")[number]
        elif kind == "output_item.added":
            assert last["output_index"] == len(items) + len(open_), "items are counted"
            open_.add(last["output_index"])
        elif kind == "output_item.done":
            open_.remove(last["output_index"])
            items.append(last["item"])
        elif "output_index" in last:
            assert last["output_index"] in open_, f"{name} of no open item"
    assert not open_
    assert last["response"]["output"] == items, "what is told at the end is what was told before"
    for item in items:
        if item["type"] == "message":
            said.text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "function_call":
            said.calls.append((item["name"], orjson.loads(item["arguments"])))
        elif item["type"] == "custom_tool_call":
            said.calls.append((item["name"], item["input"]))
    said.ended = last["type"].removeprefix("response.")
    return said


_DIALECTS: dict[str, Callable[[bytes], Heard]] = {
    "chat/completions": _chat,
    "messages": _messages,
    "responses": _responses,
}
