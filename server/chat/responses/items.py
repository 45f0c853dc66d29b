"""Items of the Responses API -> the messages of the one request type (see chat/messages.py).

- `instructions`, and messages of the system and of the developer wherever they stand, are one
  system message.
- Neighbouring items of an answer (messages of the assistant, calls, reasoning) are one message of
  the assistant. Calls must be answered before anyone else speaks.
- Reasoning is the text of that message, for engines. What it carries encrypted is an entry of
  `reasoning_details`, for the provider that wrote it; that of other providers than OpenAI travels
  in it as in opaque.py.
- A tool's message has no place for images and documents: each stands as `[image N]` or
  `[document N]` in what the tool said, and itself in a message of the user's after it, under the
  same name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from server.chat.attachments import Attachments
from server.chat.checks import array, choice, invalid, mapping, missing, string, wrong_type
from server.chat.custom_tools import wrapped_input
from server.chat.messages import (
    MAX_PARTS,
    Conversation,
    Message,
    is_query,
    parse_arguments,
)
from server.chat.responses.assistant_turn import AssistantTurn
from server.chat.responses.toolbox import SEARCH, spaced
from server.chat.tools import MAX_TOOLS, tool_name
from server.errors import RequestError

Item = dict[str, Any]

_PARTS = {
    "user": "'input_text', 'input_image', 'input_file'",
    "tool": "'input_text', 'input_image', 'input_file'",
    "assistant": "'output_text', 'refusal'",
    "system": "'input_text'",
    "developer": "'input_text'",
}

_NO_FILES = {
    "file_id": "no files are kept here",
    "file_url": "URLs are not fetched, so that no request can reach into this network",
}

_role = choice("user", "assistant", "system", "developer")
_detail = choice("auto", "low", "high", "original")
_file_detail = choice("auto", "low", "high")
_identifier = string(256, shortest=1)


class Conversing:
    """Item after item; `conversation` once all are read. Raises RequestError naming the place."""

    def __init__(self, instructions: str = "") -> None:
        self._system = [instructions] if instructions else []
        self._turns: list[Message] = []
        self._answer: AssistantTurn | None = None
        self._open: set[str] = set()
        """Calls that wait for what their tool says."""
        self._shown: list[dict[str, Any]] = []
        self._attached = Attachments()
        self._query = False

    def read(self, item: Any, name: str) -> None:
        given = mapping(item, name)
        kind = given.get("type", "message")
        read = _KINDS.get(kind) if type(kind) is str else None
        if read is None:
            raise _unsupported(f"{name}.type", kind, "items", ", ".join(map(repr, _KINDS)))
        read(self, given, name)

    def conversation(self, name: str) -> Conversation:
        self._close(name)
        if not self._query:
            raise invalid(name, "there is no message in which the user says something", "Add one")
        turns = self._turns
        if any(self._system):
            turns = [{"role": "system", "content": "\n\n".join(filter(None, self._system))}, *turns]
        attached = self._attached
        return Conversation(tuple(turns), attached.image_types, attached.pages)

    def _message(self, item: Item, name: str) -> None:
        if "role" not in item:
            raise missing(f"{name}.role")
        role = _role(item["role"], f"{name}.role")
        if "content" not in item:
            raise missing(f"{name}.content")
        parts = self._parts(item["content"], f"{name}.content", role)
        if role == "assistant":
            self._answering(name).say("\n".join([part["text"] for part in parts]))
            return
        self._close(name)
        if role != "user":
            self._system.append("\n".join([part["text"] for part in parts]))
            return
        if len(parts) == 1 and parts[0]["type"] == "text":
            self._turns.append({"role": "user", "content": parts[0]["text"]})
        elif parts:
            self._turns.append({"role": "user", "content": parts})
        text = "".join([part.get("text", "#") for part in parts])
        self._query = self._query or (bool(parts) and is_query(text))

    def _parts(self, content: Any, name: str, role: str) -> list[dict[str, Any]]:
        if type(content) is str:
            return [{"type": "text", "text": content}]
        if type(content) is not list:
            raise wrong_type(name, "a string or an array of content parts", content)
        if len(content) > MAX_PARTS:
            raise invalid(name, f"it has more than {MAX_PARTS} parts")
        return [self._part(part, f"{name}[{at}]", role) for at, part in enumerate(content)]

    def _part(self, part: Any, name: str, role: str) -> dict[str, Any]:
        kind = mapping(part, name).get("type")
        if kind in ("input_text", "output_text", "text"):
            return {"type": "text", "text": _text(part, "text", name)}
        if kind == "refusal" and role == "assistant":
            return {"type": "text", "text": _text(part, "refusal", name)}
        if kind == "input_image" and role in ("user", "tool"):
            return self._image(part, name)
        if kind == "input_file" and role in ("user", "tool"):
            return self._document(part, name)
        raise _unsupported(f"{name}.type", kind, "parts", _PARTS[role])

    def _image(self, part: Item, name: str) -> dict[str, Any]:
        if part.get("file_id") is not None:
            why = "no files are kept here"
            raise invalid(f"{name}.file_id", why, "Send the image in 'image_url', as a data: URL")
        if "image_url" not in part:
            raise missing(f"{name}.image_url")
        self._attached.add_picture(part["image_url"], f"{name}.image_url")
        image = {"url": part["image_url"]}
        detail = part.get("detail")
        if detail is not None and _detail(detail, f"{name}.detail") != "auto":
            image["detail"] = detail
        return {"type": "image_url", "image_url": image}

    def _document(self, part: Item, name: str) -> dict[str, Any]:
        for key, why in _NO_FILES.items():
            if part.get(key) is not None:
                step = "Send the document in 'file_data', as a data: URL"
                raise invalid(f"{name}.{key}", why, step)
        if "file_data" not in part:
            raise missing(f"{name}.file_data")
        document = self._attached.add_document(
            part["file_data"], part.get("filename"), f"{name}.file_data", f"{name}.filename"
        )
        detail = part.get("detail")
        if detail is not None and _file_detail(detail, f"{name}.detail") != "auto":
            document["document"]["detail"] = detail
        return document

    def _function_call(self, item: Item, name: str) -> None:
        arguments = parse_arguments(item.get("arguments"), f"{name}.arguments")
        self._call(item, name, _called(item, name), arguments)

    def _custom_call(self, item: Item, name: str) -> None:
        self._call(item, name, _called(item, name), wrapped_input(_text(item, "input", name)))

    def _search_call(self, item: Item, name: str) -> None:
        arguments = parse_arguments(item.get("arguments"), f"{name}.arguments")
        self._call(item, name, SEARCH, arguments)

    def _call(self, item: Item, name: str, called: str, arguments: str) -> None:
        identifier = _identifier(item.get("call_id"), f"{name}.call_id")
        if identifier in self._open:
            raise invalid(f"{name}.call_id", "two calls have the same one", "Give each its own")
        function = {"name": called, "arguments": arguments}
        self._answering(name).call({"type": "function", "function": function, "id": identifier})
        self._open.add(identifier)

    def _search_output(self, item: Item, name: str) -> None:
        """The tools that were found are offered (toolbox.py); the model is told which they are."""
        tools = array(item.get("tools") or [], f"{name}.tools", longest=MAX_TOOLS)
        found = [one.get("name") for one in tools if isinstance(one, dict)]
        told = f"Found: {', '.join(map(str, found))}" if found else "Nothing was found"
        self._output({**item, "output": told}, name)

    def _more_tools(self, item: Item, name: str) -> None:
        """They are offered (toolbox.py), and nothing is said."""

    def _output(self, item: Item, name: str) -> None:
        identifier = _identifier(item.get("call_id"), f"{name}.call_id")
        if identifier not in self._open:
            why = f"no call {identifier[:64]!r} before it waits for it"
            raise invalid(f"{name}.call_id", why, "Send the call as well")
        if "output" not in item:
            raise missing(f"{name}.output")
        self._open.remove(identifier)
        self._end_answer()
        texts = []
        for part in self._parts(item["output"], f"{name}.output", "tool"):
            if part["type"] == "text":
                texts.append(part["text"])
                continue
            kind = "document" if part["type"] == "document" else "image"
            label = f"[{kind} {len(self._shown) // 2 + 1}]"
            texts.append(label)
            about = {"type": "text", "text": f"{label} of what {identifier} gave:"}
            self._shown += [about, part]
        said = {"tool_call_id": identifier, "content": "\n".join(texts)}
        self._turns.append({"role": "tool", **said})

    def _reasoning(self, item: Item, name: str) -> None:
        texts = []
        for key, kind in (("content", "reasoning_text"), ("summary", "summary_text")):
            parts = array(item.get(key) or [], f"{name}.{key}", longest=MAX_PARTS)
            for at, part in enumerate(parts):
                place = f"{name}.{key}[{at}]"
                if mapping(part, place).get("type") != kind:
                    raise _unsupported(f"{place}.type", part.get("type"), "parts", f"'{kind}'")
                texts.append(_text(part, "text", place))
        sealed = item.get("encrypted_content")
        if sealed is not None and type(sealed) is not str:
            raise wrong_type(f"{name}.encrypted_content", "a string", sealed)
        self._answering(name).think("\n\n".join(texts), sealed, item.get("id"))

    def _answering(self, name: str) -> AssistantTurn:
        """The answer that goes on; after a tool has spoken, a new one."""
        if self._answer is None:
            self._close(name)
            self._answer = AssistantTurn()
        return self._answer

    def _end_answer(self) -> None:
        if self._answer is not None:
            self._turns.append(self._answer.message())
            self._answer = None

    def _close(self, name: str) -> None:
        """Before anyone else speaks: the answer is whole, and its calls are answered."""
        if self._open:
            call = min(self._open)[:64]
            raise invalid(name, f"no output of its tool answers the call {call!r}", "Send it")
        self._end_answer()
        if self._shown:
            self._turns.append({"role": "user", "content": self._shown})
            self._shown = []


_KINDS: dict[str, Callable[[Conversing, Item, str], None]] = {
    "message": Conversing._message,
    "function_call": Conversing._function_call,
    "function_call_output": Conversing._output,
    "custom_tool_call": Conversing._custom_call,
    "custom_tool_call_output": Conversing._output,
    "tool_search_call": Conversing._search_call,
    "tool_search_output": Conversing._search_output,
    "additional_tools": Conversing._more_tools,
    "reasoning": Conversing._reasoning,
}


def _called(item: Item, name: str) -> str:
    """What the tool of a call is called towards models."""
    called = tool_name(item.get("name"), f"{name}.name")
    if item.get("namespace") is None:
        return called
    return spaced(tool_name(item["namespace"], f"{name}.namespace"), called)


def read_items(items: Sequence[Any], name: str, instructions: str = "") -> Conversation:
    """The conversation of `items`. Raises RequestError naming the place."""
    conversing = Conversing(instructions)
    for at, item in enumerate(items):
        conversing.read(item, f"{name}[{at}]")
    return conversing.conversation(name)


def _text(part: Item, key: str, name: str) -> str:
    text = part.get(key)
    if type(text) is not str:
        raise wrong_type(f"{name}.{key}", "a string", text)
    return text


def _unsupported(name: str, kind: Any, what: str, known: str) -> RequestError:
    if type(kind) is not str:
        return wrong_type(name, "a string", kind)
    return RequestError(
        f"Invalid value for '{name}'",
        why=f"{what} of type '{kind[:64]}' are not supported here",
        next_step=f"Supported are: {known}",
        param=name,
    )
