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
        self.choices: dict[int, Choice] = {}
        """By number, in the order in which they began."""
        self.usage: Usage | None = None
        self.ended = False

    def choice(self, number: int = 0) -> Choice:
        """That choice, empty where nothing of it has come."""
        if number not in self.choices:
            self.choices[number] = Choice()
        return self.choices[number]

    def feed(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Began):
                self.id, self.model = event.id, event.model
            elif isinstance(event, Used):
                self.usage = event.usage
            elif isinstance(event, Ended):
                self.ended = True
            else:
                _take(self.choice(event.choice), event)


def answer_of(events: Iterable[Event]) -> Answer:
    answer = Answer()
    answer.feed(events)
    return answer


def _take(choice: Choice, event: Event) -> None:
    match event:
        case Text():
            choice.text += event.text
        case Thinking():
            choice.thinking += event.text
        case Refusal():
            choice.refusal += event.text
        case ThinkingDetail():
            choice.details.append(event.detail)
        case CallBegan():
            choice.calls.append(Call(event.id, event.name))
        case Arguments():
            choice.calls[event.index].arguments += event.text
        case Logprobs():
            choice.logprobs += event.content
        case Finished():
            choice.reason, choice.stop = event.reason, event.stop
