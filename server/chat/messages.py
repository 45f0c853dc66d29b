"""The conversation: OpenAI's messages -> the messages that Qwen3.5's chat template can render.

The template of every Qwen3.5 size raises an exception for what it does not know: a system message
that is not the first, an image in one, a role of its own, a conversation without a user. Those are
put right here where the meaning is plain, and refused with a reason where it is not; the engine
never sees them. What a message carries beyond the keys below (`name`, `refusal`, `annotations`,
...) is dropped: it has no place in the prompt, and clients send answers back as they got them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from server.chat.attachments import Attachments
from server.chat.checks import array, choice, invalid, mapping, missing, string, wrong_type
from server.chat.custom_tools import wrapped_input
from server.chat.reasoning_details import parse_details
from server.chat.tools import tool_name
from server.errors import RequestError
from server.record import record

MAX_MESSAGES = 10_000
MAX_PARTS = 1024
MAX_TOOL_CALLS = 512

_role = choice("system", "developer", "user", "assistant", "tool")
_detail = choice("auto", "low", "high", "original")
_identifier = string(256, shortest=1)

Message = Mapping[str, Any]


@record()
class Conversation:
    messages: tuple[Message, ...]
    image_types: frozenset[str]
    """Kinds of the images in it (`"png"`, ...); empty: there are none."""
    pages: int = 0
    """Of the documents in it; 0: there are none."""


def parse_messages(value: Any, name: str) -> Conversation:
    """Checks and normalises `messages`. Raises RequestError naming the place."""
    reader = _Reader()
    for index, message in enumerate(array(value, name, shortest=1, longest=MAX_MESSAGES)):
        reader.read(message, f"{name}[{index}]")
    return reader.conversation(name)


class _Reader:
    def __init__(self) -> None:
        self._system: list[str] = []
        self._turns: list[Message] = []
        self._attached = Attachments()
        self._query = False

    def read(self, message: Any, name: str) -> None:
        mapping(message, name)
        if "role" not in message:
            raise missing(f"{name}.role")
        role = message["role"]
        if role == "user":
            self._turns.append({"role": "user", "content": self._user_content(message, name)})
        elif role == "assistant":
            self._turns.append(_assistant(message, name))
        elif role == "tool":
            self._turns.append(self._tool(message, name))
        else:
            if role == "function":
                raise invalid(f"{name}.role", "'function' is no longer supported", "Use 'tool'")
            _role(role, f"{name}.role")
            self._system.append(_text(message.get("content"), f"{name}.content"))

    def conversation(self, name: str) -> Conversation:
        if not self._query:
            raise invalid(
                name,
                "there is no message with role 'user', which the chat template cannot do without",
                "Add one",
            )
        last = self._turns[-1]
        if last["role"] == "assistant" and "tool_calls" in last:
            raise invalid(
                name,
                "an assistant message with 'tool_calls' must be followed by tool messages that "
                "answer each of them",
            )
        turns = self._turns
        if self._system:
            turns = [{"role": "system", "content": "\n\n".join(self._system)}, *turns]
        attached = self._attached
        return Conversation(tuple(turns), attached.image_types, attached.pages)

    def _user_content(self, message: dict[str, Any], name: str) -> str | list[dict[str, Any]]:
        content = message.get("content")
        name += ".content"
        if type(content) is str:
            self._query = self._query or is_query(content)
            return content
        if type(content) is not list:
            raise wrong_type(name, "a string or an array of content parts", content)
        parts = [
            self._user_part(part, f"{name}[{index}]")
            for index, part in enumerate(array(content, name, shortest=1, longest=MAX_PARTS))
        ]
        self._query = self._query or is_query("".join(part.get("text", "#") for part in parts))
        return parts

    def _user_part(self, part: Any, name: str) -> dict[str, Any]:
        kind = mapping(part, name).get("type")
        if kind == "text":
            return {"type": "text", "text": _part_text(part, name)}
        if kind == "file":
            return self._document(part, f"{name}.file")
        if kind != "image_url":
            raise _unsupported_part(kind, name)
        place = f"{name}.image_url"
        image = mapping(part.get("image_url"), place)
        if "url" not in image:
            raise missing(f"{place}.url")
        if image.get("detail") is not None:
            _detail(image["detail"], f"{place}.detail")
        self._attached.add_picture(image["url"], f"{place}.url")
        kept = {"url": image["url"]}
        if image.get("detail") not in (None, "auto"):
            kept["detail"] = image["detail"]
        return {"type": "image_url", "image_url": kept}

    def _document(self, part: dict[str, Any], name: str) -> dict[str, Any]:
        file = mapping(part.get("file"), name)
        if file.get("file_id") is not None:
            why = "no files are kept here"
            raise invalid(f"{name}.file_id", why, "Send the document in 'file_data'")
        if "file_data" not in file:
            raise missing(f"{name}.file_data")
        return self._attached.add_document(
            file["file_data"], file.get("filename"), f"{name}.file_data", f"{name}.filename"
        )

    def _tool(self, message: dict[str, Any], name: str) -> Message:
        previous = self._turns[-1] if self._turns else {"role": None}
        if previous["role"] != "tool" and "tool_calls" not in previous:
            raise invalid(
                f"{name}.role",
                "messages with role 'tool' must be a response to a preceding message with "
                "'tool_calls'",
            )
        if "tool_call_id" not in message:
            raise missing(f"{name}.tool_call_id")
        return {
            "role": "tool",
            "tool_call_id": _identifier(message["tool_call_id"], f"{name}.tool_call_id"),
            "content": _text(message.get("content"), f"{name}.content"),
        }


def is_query(text: str) -> bool:
    """Whether the template takes a user message for a question and not for a tool's answer."""
    text = text.strip()
    return not (text.startswith("<tool_response>") and text.endswith("</tool_response>"))


def _assistant(message: dict[str, Any], name: str) -> Message:
    """Thinking may come as `reasoning_content` or as `reasoning`; the template drops what is old,
    and needs that of the turn at hand when tools have answered."""
    if message.get("audio") is not None:
        raise invalid(f"{name}.audio", "audio is not supported")
    if message.get("function_call") is not None:
        raise invalid(f"{name}.function_call", "it is no longer supported", "Use 'tool_calls'")
    turn: dict[str, Any] = {"role": "assistant"}
    calls = message.get("tool_calls")
    if calls:
        turn["tool_calls"] = [
            _tool_call(call, f"{name}.tool_calls[{index}]")
            for index, call in enumerate(array(calls, f"{name}.tool_calls", longest=MAX_TOOL_CALLS))
        ]
    elif calls is not None and type(calls) is not list:
        raise wrong_type(f"{name}.tool_calls", "an array", calls)
    content = message.get("content")
    for key in ("reasoning_content", "reasoning"):
        thought = message.get(key)
        if type(thought) is str:
            turn["reasoning_content"] = thought
            break
        if thought is not None:
            raise wrong_type(f"{name}.{key}", "a string", thought)
    if message.get("reasoning_details") is not None:
        details = parse_details(message["reasoning_details"], f"{name}.reasoning_details")
        if details:
            turn["reasoning_details"] = details
    refusal = message.get("refusal")
    if refusal is not None and type(refusal) is not str:
        raise wrong_type(f"{name}.refusal", "a string", refusal)
    if content is not None:
        turn["content"] = _text(content, f"{name}.content", refusals=True)
    elif calls or _thinks(turn) or refusal is not None:
        turn["content"] = refusal or ""
    else:
        raise invalid(f"{name}.content", "it may only be null where there are 'tool_calls'")
    return turn


def _thinks(turn: Message) -> bool:
    return "reasoning_content" in turn or "reasoning_details" in turn


def _tool_call(call: Any, name: str) -> dict[str, Any]:
    kind = mapping(call, name).get("type", "function")
    if kind == "custom":
        return _custom_call(call, name)
    if kind != "function":
        raise invalid(f"{name}.type", "only calls of type 'function' or 'custom' are supported")
    if "function" not in call:
        raise missing(f"{name}.function")
    function = mapping(call["function"], f"{name}.function")
    if "name" not in function:
        raise missing(f"{name}.function.name")
    checked: dict[str, Any] = {
        "type": "function",
        "function": {
            "name": tool_name(function["name"], f"{name}.function.name"),
            "arguments": parse_arguments(function.get("arguments"), f"{name}.function.arguments"),
        },
    }
    if call.get("id") is not None:
        checked["id"] = _identifier(call["id"], f"{name}.id")
    return checked


def _custom_call(call: dict[str, Any], name: str) -> dict[str, Any]:
    place = f"{name}.custom"
    given = mapping(call.get("custom"), place)
    if "name" not in given:
        raise missing(f"{place}.name")
    if type(given.get("input")) is not str:
        raise wrong_type(f"{place}.input", "a string", given.get("input"))
    called = tool_name(given["name"], f"{place}.name")
    function = {"name": called, "arguments": wrapped_input(given["input"])}
    checked: dict[str, Any] = {"type": "function", "function": function}
    if call.get("id") is not None:
        checked["id"] = _identifier(call["id"], f"{name}.id")
    return checked


def parse_arguments(value: Any, name: str) -> str:
    """The template walks a call's arguments, so they must be the text of a JSON object."""
    if value is None or value == "":
        return "{}"
    if type(value) is dict:
        return orjson.dumps(value).decode()
    if type(value) is not str:
        raise wrong_type(name, "a string that holds a JSON object", value)
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise invalid(name, f"it is not valid JSON ({error.msg} at column {error.colno})") from None
    if type(parsed) is not dict:
        raise wrong_type(name, "a string that holds a JSON object", parsed)
    return value


def _text(value: Any, name: str, *, refusals: bool = False) -> str:
    """A string, or an array of text parts, which are joined; `refusals`: those count as text."""
    if type(value) is str:
        return value
    if type(value) is not list:
        raise wrong_type(name, "a string or an array of content parts", value)
    texts = []
    for index, part in enumerate(array(value, name, longest=MAX_PARTS)):
        place = f"{name}[{index}]"
        kind = mapping(part, place).get("type")
        if kind == "text":
            texts.append(_part_text(part, place))
        elif kind == "refusal" and refusals:
            texts.append(_part_text(part, place, "refusal"))
        elif kind == "image_url":
            raise invalid(place, "images are only accepted in messages with role 'user'")
        elif kind == "file":
            raise invalid(place, "files are only accepted in messages with role 'user'")
        else:
            raise _unsupported_part(kind, place)
    return "\n".join(texts)


def _part_text(part: dict[str, Any], name: str, key: str = "text") -> str:
    text = part.get(key)
    if type(text) is not str:
        raise wrong_type(f"{name}.{key}", "a string", text)
    return text


def _unsupported_part(kind: Any, name: str) -> RequestError:
    if type(kind) is not str:
        return wrong_type(f"{name}.type", "a string", kind)
    return RequestError(
        f"Invalid value for '{name}.type'",
        why=f"content of type '{kind[:64]}' is not supported",
        next_step="Supported values are: 'text' and, in user messages, 'image_url' and 'file'",
        param=f"{name}.type",
    )
