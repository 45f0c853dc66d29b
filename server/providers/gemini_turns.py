"""The conversation as Gemini's API has it: contents of parts, by `user` and `model`.

What becomes of what it has no like of:
- What tools answered is a content of its own: `{"output": ...}` for each call, by its name and id;
  a call without an id gets that of its answer (call_ids.py).
- Neighbouring messages of one role are one content; text that is empty, and a content with nothing
  else in it, is left out.
- The name of a document stands before it, as text.
- Signatures go back on the part that they came with (`reasoning_details` of format "gemini"): those
  with an `id` on that call, the others at the end of the text. The thoughts themselves do not.
- Newer models (those that take degrees of thinking) refuse calls that they have not signed. A
  message with calls that another model made has, on the first, the text that Google gives for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from server.chat.documents import data_of
from server.chat.images import read_picture
from server.chat.messages import Message
from server.chat.reasoning_details import details_of
from server.providers.call_ids import identified

FORMAT = "gemini"
UNSIGNED = "skip_thought_signature_validator"
"""https://ai.google.dev/gemini-api/docs/thought-signatures"""

Part = dict[str, Any]


def system_and_contents(
    messages: Sequence[Message], model: str, *, signed: bool
) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, empty where there is none, and the contents; `model` as Gemini calls it,
    `signed`: it refuses calls without a signature."""
    system = ""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    before = ""
    for message in identified(messages):
        role = message["role"]
        if role == "system":
            system = message["content"]
            continue
        if role == "assistant":
            names |= {call["id"]: call["function"]["name"] for call in _calls(message)}
            parts = _model(message, model, signed=signed)
        elif role == "tool":
            parts = [_response(message, names)]
        else:
            parts = _user(message["content"])
        if contents and role == before:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": "model" if role == "assistant" else "user", "parts": parts})
            before = role
    return system, contents


def _calls(message: Message) -> Sequence[Any]:
    calls: Sequence[Any] = message.get("tool_calls", ())
    return calls


def _text(text: str) -> list[Part]:
    return [{"text": text}] if text else []


def _user(content: str | list[dict[str, Any]]) -> list[Part]:
    if isinstance(content, str):
        return _text(content)
    parts: list[Part] = []
    for part in content:
        if part["type"] == "text":
            parts += _text(part["text"])
        elif part["type"] == "document":
            parts += _document(part["document"])
        else:
            parts.append(_image(part["image_url"]))
    return parts


def _document(document: dict[str, Any]) -> list[Part]:
    data = {"inlineData": {"mimeType": "application/pdf", "data": data_of(document)}}
    return [*_text(document.get("name", "")), data]


def _image(image: dict[str, Any]) -> Part:
    url = image["url"]
    kind = read_picture(url, "image_url.url").kind
    return {"inlineData": {"mimeType": f"image/{kind}", "data": url[url.index(",") + 1 :]}}


def _response(message: Message, names: dict[str, str]) -> Part:
    identifier = message["tool_call_id"]
    name = names.get(identifier, identifier)
    response = {"output": message["content"]}
    return {"functionResponse": {"id": identifier, "name": name, "response": response}}


def _model(message: Message, model: str, *, signed: bool) -> list[Part]:
    details = details_of(message, FORMAT, model)
    signatures = {one.get("id", ""): one["data"] for one in details if "data" in one}
    parts = _text(message["content"])
    if "" in signatures:
        if not parts:
            parts = [{"text": ""}]
        parts[-1]["thoughtSignature"] = signatures[""]
    calls = [_call(call, signatures) for call in _calls(message)]
    if signed and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = UNSIGNED
    return parts + calls


def _call(call: Any, signatures: dict[str, str]) -> Part:
    function = call["function"]
    written = {"name": function["name"], "args": orjson.Fragment(function["arguments"])}
    identifier = call["id"]
    part: Part = {"functionCall": {"id": identifier, **written}}
    if identifier in signatures:
        part["thoughtSignature"] = signatures[identifier]
    return part
