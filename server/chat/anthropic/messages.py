"""Anthropic's turns of blocks -> the messages of the one request type (see chat/messages.py).

- `system` blocks, and messages of that role wherever they stand, are one system message.
- The results in a user's turn are `tool` messages, in their order, before what else it says; each
  call must be answered by the turn after it, as Anthropic's API has it. A result with `is_error`
  begins with `Error: `. A tool's message has no place for images and PDFs: each stands as
  `[image N]` or `[document N]` in the result, and itself in the user's message after it, under the
  same name.
- Thinking is the text of the message, for engines, and an entry of `reasoning_details` where it is
  signed, for the provider that signed it; see opaque.py for those of other providers.
- Documents are PDFs, or text as search results are (documents.py); the context of a PDF stands
  before it. What tools at Anthropic said is refused by its type.
- `cache_control` and `citations` of blocks are passed over.
"""

from __future__ import annotations

from typing import Any

import orjson

from server.chat.anthropic.documents import document_text, pdf_url, result_text, string_in
from server.chat.anthropic.opaque import detail_in
from server.chat.attachments import Attachments
from server.chat.checks import array, choice, invalid, mapping, missing, string, wrong_type
from server.chat.messages import MAX_MESSAGES, MAX_PARTS, Conversation, Message, is_query
from server.chat.reasoning_details import Detail
from server.chat.tools import tool_name
from server.errors import RequestError

MAX_BLOCKS = 4 * MAX_PARTS

_role = choice("user", "assistant", "system")
_identifier = string(256, shortest=1)

_HERE = {
    "user": "'text', 'image', 'tool_result', 'search_result' and 'document'",
    "assistant": "'text', 'tool_use', 'thinking' and 'redacted_thinking'",
    "tool_result": "'text', 'image', 'search_result' and 'document'",
    "system": "'text'",
}


def parse_system(value: Any, name: str) -> str:
    return _only_text(value, name)


def parse_turns(value: Any, name: str) -> Conversation:
    """Checks and translates `messages`. Raises RequestError naming the place."""
    reader = _Reader()
    for index, message in enumerate(array(value, name, shortest=1, longest=MAX_MESSAGES)):
        reader.read(message, f"{name}[{index}]")
    return reader.conversation(name)


def with_system(system: str, conversation: Conversation) -> tuple[Message, ...]:
    """The messages, `system` before what system messages say."""
    messages = conversation.messages
    if messages and messages[0]["role"] == "system":
        system = "\n\n".join(filter(None, (system, messages[0]["content"])))
        messages = messages[1:]
    return ({"role": "system", "content": system}, *messages) if system else messages


class _Reader:
    def __init__(self) -> None:
        self._system: list[str] = []
        self._turns: list[dict[str, Any]] = []
        self._attached = Attachments()
        self._open: set[str] = set()
        """Calls that wait for their result."""
        self._query = False

    def read(self, message: Any, name: str) -> None:
        given = mapping(message, name)
        if "role" not in given:
            raise missing(f"{name}.role")
        role = _role(given["role"], f"{name}.role")
        if "content" not in given:
            raise missing(f"{name}.content")
        content, place = given["content"], f"{name}.content"
        if role == "system":
            self._system.append(_only_text(content, place))
        elif role == "user":
            self._user(_blocks(content, place), place)
        else:
            self._check_answered(place)
            self._assistant(_blocks(content, place), place)

    def conversation(self, name: str) -> Conversation:
        self._check_answered(name)
        if not self._query:
            raise invalid(name, "there is no message in which the user says something", "Add one")
        turns = self._turns
        if self._system:
            turns = [{"role": "system", "content": "\n\n".join(self._system)}, *turns]
        attached = self._attached
        return Conversation(tuple(turns), attached.image_types, attached.pages)

    def _check_answered(self, name: str) -> None:
        if self._open:
            call = min(self._open)[:64]
            why = f"the call {call!r} of the turn before has no 'tool_result'"
            raise invalid(name, why, "Answer each 'tool_use' in the user's turn right after it")

    def _user(self, blocks: list[Any], name: str) -> None:
        said: list[dict[str, Any]] = []
        shown: list[dict[str, Any]] = []
        for index, block in enumerate(blocks):
            place = f"{name}[{index}]"
            if mapping(block, place).get("type") == "tool_result":
                self._tool_result(block, place, shown)
            else:
                said += self._parts(block, place, "user")
        parts = [*shown, *said]
        if all(part["type"] == "text" for part in parts) and len(parts) == 1:
            self._turns.append({"role": "user", "content": parts[0]["text"]})
        elif parts:
            self._turns.append({"role": "user", "content": parts})
        text = "".join(part.get("text", "#") for part in parts)
        self._query = self._query or (bool(parts) and is_query(text))

    def _parts(self, block: dict[str, Any], name: str, within: str) -> list[dict[str, Any]]:
        kind = block.get("type")
        if kind == "image":
            return [{"type": "image_url", "image_url": {"url": self._image(block, name)}}]
        if kind == "document":
            return self._document(block, name)
        if kind == "search_result":
            return [{"type": "text", "text": result_text(block, name)}]
        return [{"type": "text", "text": _text(block, name, within)}]

    def _document(self, block: dict[str, Any], name: str) -> list[dict[str, Any]]:
        url = pdf_url(block, name)
        if url is None:
            return [{"type": "text", "text": document_text(block, name)}]
        part = self._attached.add_document(
            url, block.get("title") or None, f"{name}.source.data", f"{name}.title"
        )
        if not block.get("context"):
            return [part]
        return [{"type": "text", "text": string_in(block, "context", name)}, part]

    def _image(self, block: dict[str, Any], name: str) -> str:
        """As a `data:` URL, which is checked as such."""
        source = mapping(block.get("source"), f"{name}.source")
        place = f"{name}.source"
        if source.get("type") != "base64":
            why = "only images that are in the request itself are taken"
            raise invalid(f"{place}.type", why, "Send it with type 'base64'")
        for key in ("media_type", "data"):
            if type(source.get(key)) is not str:
                raise wrong_type(f"{place}.{key}", "a string", source.get(key))
        url = f"data:{source['media_type']};base64,{source['data']}"
        self._attached.add_picture(url, f"{place}.data")
        return url

    def _tool_result(self, block: dict[str, Any], name: str, shown: list[dict[str, Any]]) -> None:
        """Adds the message; the images and PDFs that it holds are added to `shown`."""
        identifier = _identifier(block.get("tool_use_id"), f"{name}.tool_use_id")
        if identifier not in self._open:
            why = f"there is no call {identifier[:64]!r} in the turn before that waits for it"
            raise invalid(f"{name}.tool_use_id", why)
        self._open.remove(identifier)
        texts = []
        content = block.get("content")
        for index, one in enumerate(_blocks("" if content is None else content, f"{name}.content")):
            place = f"{name}.content[{index}]"
            for part in self._parts(mapping(one, place), place, "tool_result"):
                if part["type"] == "text":
                    texts.append(part["text"])
                    continue
                what = "document" if part["type"] == "document" else "image"
                label = f"[{what} {len(shown) // 2 + 1}]"
                texts.append(label)
                shown += [{"type": "text", "text": f"{label} of the result of {identifier}:"}, part]
        text = "\n".join(texts)
        if block.get("is_error"):
            text = f"Error: {text}"
        self._turns.append({"role": "tool", "tool_call_id": identifier, "content": text})

    def _assistant(self, blocks: list[Any], name: str) -> None:
        turn = _Answer()
        for index, block in enumerate(blocks):
            turn.read(mapping(block, f"{name}[{index}]"), index, f"{name}[{index}]")
        self._open = {call["id"] for call in turn.calls}
        if len(self._open) < len(turn.calls):
            raise invalid(name, "two calls have the same 'id'", "Give each its own")
        self._turns.append(turn.message())


class _Answer:
    """An assistant's turn."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._length = 0
        """Characters of them all: to join them for each block would take the square of the time."""
        self._thinking: list[str] = []
        self._details: list[Any] = []

    def read(self, block: dict[str, Any], index: int, name: str) -> None:
        kind = block.get("type")
        if kind == "tool_use":
            self.calls.append(_call(block, name))
        elif kind == "thinking":
            text = string_in(block, "thinking", name)
            self._thinking.append(text)
            if block.get("signature"):
                self._keep(detail_in(string_in(block, "signature", name), "signature"), index, text)
        elif kind == "redacted_thinking":
            self._keep(detail_in(string_in(block, "data", name), "data"), index)
        else:
            text = _text(block, name, "assistant")
            self._texts.append(text)
            self._length += len(text)

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts)}
        if self.calls:
            message["tool_calls"] = self.calls
        if any(self._thinking):
            message["reasoning_content"] = "\n\n".join(filter(None, self._thinking))
        if self._details:
            message["reasoning_details"] = self._details
        return message

    def _keep(self, detail: Detail | None, index: int, text: str | None = None) -> None:
        """Anthropic's own at the place where it stands; that of others knows its place."""
        if detail is None:
            return
        if detail["format"] == "anthropic":
            said = {} if text is None else {"text": text}
            detail = {**detail, **said, "index": index, "at": self._length}
        self._details.append(detail)


def _call(block: dict[str, Any], name: str) -> dict[str, Any]:
    if "input" not in block:
        raise missing(f"{name}.input")
    given = mapping(block["input"], f"{name}.input")
    return {
        "type": "function",
        "function": {
            "name": tool_name(block.get("name"), f"{name}.name"),
            "arguments": orjson.dumps(given).decode(),
        },
        "id": _identifier(block.get("id"), f"{name}.id"),
    }


def _blocks(content: Any, name: str) -> list[Any]:
    if type(content) is str:
        return [{"type": "text", "text": content}]
    if type(content) is not list:
        raise wrong_type(name, "a string or an array of content blocks", content)
    return array(content, name, longest=MAX_BLOCKS)


def _only_text(content: Any, name: str) -> str:
    texts = [
        _text(mapping(block, f"{name}[{index}]"), f"{name}[{index}]", "system")
        for index, block in enumerate(_blocks(content, name))
    ]
    return "\n\n".join(filter(None, texts))


def _text(block: dict[str, Any], name: str, within: str) -> str:
    kind = block.get("type")
    if kind == "text":
        return string_in(block, "text", name)
    if type(kind) is not str:
        raise wrong_type(f"{name}.type", "a string", kind)
    raise RequestError(
        f"Invalid value for '{name}.type'",
        why=f"blocks of type '{kind[:64]}' are not supported here",
        next_step=f"Supported are: {_HERE[within]}",
        param=f"{name}.type",
    )
