"""The conversation as Anthropic's Messages has it: turns of blocks, user and assistant in turn.

What becomes of what it has no like of:
- Answers of tools are blocks at the beginning of the next user turn; neighbouring messages of one
  role are one turn; text of nothing but white space, which the API refuses, and a turn with nothing
  else in it, is left out.
- A call without an id gets that of its answer (call_ids.py). Ids that the API would not take, or
  not twice, are replaced, in both places alike.
- Thinking goes back as it came, where it stood (`reasoning_details` of format "anthropic"), to the
  model whose it is. Thinking without a signature is not sent: only Anthropic can sign it.
- How closely to look at an image or a document (`detail`) is the model's affair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from server.chat.documents import data_of
from server.chat.images import read_picture
from server.chat.messages import Message
from server.chat.reasoning_details import details_of, in_order
from server.providers.call_ids import identified

FORMAT = "anthropic"

_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")

Block = dict[str, Any]


def system_and_turns(messages: Sequence[Message], model: str) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, empty where there is none, and the turns, for Anthropic's `model`."""
    system = ""
    turns: list[dict[str, Any]] = []
    ids = _Ids()
    for message in identified(messages):
        role = message["role"]
        if role == "system":
            system = message["content"] if message["content"].strip() else ""
        elif role == "assistant":
            _add(turns, "assistant", _assistant(message, ids, model))
        elif role == "tool":
            _add(turns, "user", [_tool_result(message, ids)])
        else:
            _add(turns, "user", _user(message["content"]))
    return system, turns


def signed(message: Message, model: str) -> bool:
    """Whether an assistant message has thinking that `model` has signed."""
    return any(_thinking(one) for one in details_of(message, FORMAT, model))


class _Ids:
    """Ids of calls, as the client has them -> as they are sent."""

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self._used: set[str] = set()

    def of_call(self, given: str) -> str:
        sent = given
        if given in self._used or not _ID.fullmatch(given):
            sent = f"call_{len(self._used)}"
            while sent in self._used:
                sent += "_"
        self._used.add(sent)
        self._sent[given] = sent
        return sent

    def of_result(self, given: str) -> str:
        return self._sent.get(given, given)


def _add(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    elif blocks:
        turns.append({"role": role, "content": blocks})


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _user(content: str | list[dict[str, Any]]) -> list[Block]:
    if isinstance(content, str):
        return _text(content)
    blocks: list[Block] = []
    for part in content:
        if part["type"] == "text":
            blocks += _text(part["text"])
        elif part["type"] == "document":
            blocks.append(_document(part["document"]))
        else:
            blocks.append(_image(part["image_url"]))
    return blocks


def _document(document: dict[str, Any]) -> Block:
    source = {"type": "base64", "media_type": "application/pdf", "data": data_of(document)}
    titled = {"title": document["name"]} if "name" in document else {}
    return {"type": "document", "source": source, **titled}


def _image(image: Mapping[str, Any]) -> Block:
    url = image["url"]
    kind = read_picture(url, "image_url.url").kind
    data = url[url.index(",") + 1 :]
    source = {"type": "base64", "media_type": f"image/{kind}", "data": data}
    return {"type": "image", "source": source}


def _tool_result(message: Message, ids: _Ids) -> Block:
    block = {"type": "tool_result", "tool_use_id": ids.of_result(message["tool_call_id"])}
    if message["content"].strip():
        block["content"] = message["content"]
    return block


def _assistant(message: Message, ids: _Ids, model: str) -> list[Block]:
    blocks: list[Block] = []
    for kind, piece in in_order(message, FORMAT, model):
        if kind == "text":
            blocks += _text(piece)
        elif kind == "call":
            blocks.append(_call(piece, ids))
        elif (thought := _thinking(piece)) is not None:
            blocks.append(thought)
    return blocks


def _thinking(detail: Mapping[str, Any]) -> Block | None:
    if detail["type"] == "reasoning.encrypted" and "data" in detail:
        return {"type": "redacted_thinking", "data": detail["data"]}
    if detail["type"] == "reasoning.text" and detail.get("signature"):
        text = detail.get("text", "")
        return {"type": "thinking", "thinking": text, "signature": detail["signature"]}
    return None


def _call(call: Mapping[str, Any], ids: _Ids) -> Block:
    function = call["function"]
    return {
        "type": "tool_use",
        "id": ids.of_call(call["id"]),
        "name": function["name"],
        "input": orjson.Fragment(function["arguments"]),
    }
