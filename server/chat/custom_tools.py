"""Custom tools, whose input is any text: to models they are functions with one string, `input`.

So they are for every target, as most know functions only. Of a grammar for the input models are
told in the description; nothing binds them to it, so the client must check. The answer has the
calls as the client knows them; as a model writes the input as a JSON string, it is told once it is
whole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.chat.checks import choice, string
from server.chat.events import Arguments, CallBegan, Event, Finished

_text = string(65_536)
_syntax = choice("lark", "regex")


def as_function(description: Any, grammar: Any, place: str, inside: str) -> dict[str, Any]:
    """What a function has beside its name for a custom tool at `place`; `grammar`: an object with
    `syntax` and `definition` at `inside`, or None. Raises RequestError naming the place."""
    said = [_text(description or "", f"{place}.description")]
    if grammar is not None:
        syntax = _syntax(grammar.get("syntax"), f"{inside}.syntax")
        rules = _text(grammar.get("definition"), f"{inside}.definition")
        said.append(f"The input must match this {syntax} grammar:\n{rules}")
    text = {"type": "string", "description": "The whole input, as it is: no JSON within it."}
    schema = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    described = {"description": "\n\n".join(filter(None, said))} if any(said) else {}
    return {**described, "parameters": {**schema, "additionalProperties": False}}


def wrapped_input(text: str) -> str:
    """The input of a custom tool as the arguments of the function that it is to models."""
    return orjson.dumps({"input": text}).decode()


def input_of(arguments: str) -> str:
    """The input of a custom tool that was called with `arguments`; a model that wrote none of the
    JSON around it meant the text itself."""
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = given.get("input", "") if isinstance(given, dict) else arguments
    return text if isinstance(text, str) else orjson.dumps(text).decode()


@dataclass(frozen=True, slots=True)
class CustomCallBegan:
    """As CallBegan, of a custom tool."""

    index: int
    id: str
    name: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """The whole input of a call."""

    index: int
    text: str
    choice: int = 0


Told = Event | CustomCallBegan | Input
"""What clients of chat completions are told."""


class CustomCalls:
    """feed(events) -> the same, with calls of the custom tools `names` as such."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._arguments: dict[tuple[int, int], list[str]] = {}
        """Of calls that are not whole yet, by choice and index."""

    def feed(self, events: Sequence[Event]) -> list[Told]:
        told: list[Told] = []
        for event in events:
            if isinstance(event, Arguments):
                pieces = self._arguments.get((event.choice, event.index))
                if pieces is not None:
                    pieces.append(event.text)
                    continue
            elif isinstance(event, CallBegan):
                told += self._whole(event.choice)
                if event.name in self._names:
                    self._arguments[event.choice, event.index] = []
                    told.append(CustomCallBegan(event.index, event.id, event.name, event.choice))
                    continue
            elif isinstance(event, Finished):
                told += self._whole(event.choice)
            told.append(event)
        return told

    def _whole(self, number: int) -> list[Input]:
        """What the calls of that choice are given, which are whole."""
        keys = [key for key in self._arguments if key[0] == number]
        inputs = {index: "".join(self._arguments.pop((one, index))) for one, index in keys}
        return [Input(index, input_of(text), number) for index, text in inputs.items()]
