from __future__ import annotations

import pytest

from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Refusal,
    Text,
    Thinking,
    Used,
)
from server.chat.usage import Usage
from server.routing.tally import Tally


class Scripted:
    """A decoder that reads what it is told to, whatever it is fed."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def feed(self, chunk: bytes) -> list[Event]:
        return self._events


@pytest.mark.parametrize(
    ("event", "spoke", "steps", "counted"),
    [
        (Began("a", "m"), False, 0, 0),
        (Text(""), False, 0, 0),
        (Text("four"), True, 1, 2),
        (Text("你好"), True, 1, 2),
        (Text("\ud800"), True, 1, 1),
        (Thinking("hm"), True, 1, 1),
        (Refusal("no"), True, 1, 1),
        (CallBegan(0, "c", "f"), True, 1, 0),
        (Arguments(0, "{}"), True, 1, 1),
        (Finished("stop"), False, 1, 0),
        (Used(Usage(1, 2)), False, 0, 0),
        (Ended(), False, 1, 0),
    ],
    ids=repr,
)
def test_what_counts_as_a_word_and_what_as_progress(
    event: Event, spoke: bool, steps: int, counted: int
) -> None:
    tally = Tally(Scripted([event]))
    assert tally.feed(b"") == [event]
    assert (tally.spoke, tally.steps, tally.counted) == (spoke, steps, counted)
    assert tally.ended == isinstance(event, Ended)
    assert tally.usage == (event.usage if isinstance(event, Used) else None)


def test_a_stream_of_pings_is_no_progress() -> None:
    tally = Tally(Scripted([]))
    for _ in range(1000):
        tally.feed(b": ping\n\n")
    assert (tally.spoke, tally.steps, tally.counted) == (False, 0, 0)
