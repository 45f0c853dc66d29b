"""A whole answer, which is what its events amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    FinishReason,
    Logprobs,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.usage import Usage

Said = Text | Thinking | Refusal | ThinkingDetail | CallBegan | Arguments | Logprobs | Finished
"""What is said by one of the choices."""


@dataclass(slots=True)
class Call:
    id: str
    name: str
    arguments: str = ""
    """The JSON text of an object; empty where none were given."""


@dataclass(slots=True)
class Choice:
    """One of the texts that were asked for."""

    text: str = ""
    thinking: str = ""
    refusal: str = ""
    details: list[Mapping[str, Any]] = field(default_factory=list)
    """See ThinkingDetail."""
    calls: list[Call] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    reason: FinishReason | None = None
    """None: it has not come to its end."""
    stop: str | None = None


class Answer:
    """Events in, in as many batches as they come; once `ended`, the answer is whole."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.ended = False
        self._said: list[Said] = []
        self._choices: dict[int, Choice] | None = None

    @property
    def choices(self) -> dict[int, Choice]:
        """By number, in the order in which they began."""
        if self._choices is None:
            self._choices = _fold(self._said)
        return self._choices

    def choice(self, number: int = 0) -> Choice:
        """That choice, empty where nothing of it has come."""
        return self.choices.get(number) or Choice()

    def feed(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Began):
                self.id, self.model = event.id, event.model
            elif isinstance(event, Used):
                self.usage = event.usage
            elif isinstance(event, Ended):
                self.ended = True
            else:
                self._said.append(event)
                self._choices = None


def answer_of(events: Iterable[Event]) -> Answer:
    answer = Answer()
    answer.feed(events)
    return answer


def _fold(said: Iterable[Said]) -> dict[int, Choice]:
    """Words are joined once: piece by piece, a long answer would be copied for each token."""
    choices: dict[int, Choice] = {}
    words: dict[tuple[int, str | int], list[str]] = {}
    for event in said:
        choice = choices.setdefault(event.choice, Choice())
        match event:
            case Text() | Thinking() | Refusal():
                words.setdefault((event.choice, _WORDS[type(event)]), []).append(event.text)
            case Arguments():
                words.setdefault((event.choice, event.index), []).append(event.text)
            case ThinkingDetail():
                choice.details.append(event.detail)
            case CallBegan():
                choice.calls.append(Call(event.id, event.name))
            case Logprobs():
                choice.logprobs += event.content
            case Finished():
                choice.reason, choice.stop = event.reason, event.stop
    for (number, where), pieces in words.items():
        if isinstance(where, str):
            setattr(choices[number], where, "".join(pieces))
        else:
            choices[number].calls[where].arguments = "".join(pieces)
    return choices


_WORDS: dict[type, str] = {Text: "text", Thinking: "thinking", Refusal: "refusal"}
