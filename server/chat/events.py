"""What a model says, event by event: the same whoever says it, and whoever is told.

A target's stream is decoded into these, and a client's answer is encoded from them, so that each
kind of client and each kind of target is known in one place only. In order, for each choice: the
words, calls and thinking as they come, then `Finished`. `Used` may come more than once; the last
one counts. `Ended` comes last, and only where the stream was whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from server.chat.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Began:
    """The target has accepted the request."""

    id: str
    """Of the answer, as the target calls it."""
    model: str
    """As the target calls the one that answers."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Words with which the model declines, where the target tells them apart from an answer."""

    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Thinking:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ThinkingDetail:
    """What must be sent back for the target to go on thinking where it stopped: a signature, or
    thoughts that are encrypted. An entry of `reasoning_details`; see messages.py."""

    detail: Mapping[str, Any]
    choice: int = 0


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A tool is called. `index` counts the calls of one choice from 0."""

    index: int
    id: str
    name: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of the JSON text of a call's arguments; together they are one object."""

    index: int
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log probabilities of the latest tokens, in the shape of OpenAI's `logprobs.content`."""

    content: Sequence[Any]
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    reason: FinishReason
    choice: int = 0
    stop: str | None = None
    """The stop sequence that ended it, where the target says which."""


@dataclass(frozen=True, slots=True)
class Used:
    usage: Usage


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream was whole."""


Event = (
    Began
    | Text
    | Refusal
    | Thinking
    | ThinkingDetail
    | CallBegan
    | Arguments
    | Logprobs
    | Finished
    | Used
    | Ended
)
