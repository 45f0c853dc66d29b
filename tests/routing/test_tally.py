from __future__ import annotations

from typing import cast

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


ANSWERS: list[Event] = [Text("a"), Refusal("no"), Arguments(0, "{}")]
OTHERS: list[Event] = [Thinking("hm"), Text(""), Began("a", "m"), Used(Usage(1, 2))]


@pytest.mark.parametrize(
    ("seconds", "events", "silent"),
    [
        ([], [], 30.0),
        *[([10.0, 0.5, 0.5], [word] * 3, 29.0) for word in ANSWERS],
        *[([10.0, 0.5, 0.5], [other] * 3, 30.0) for other in OTHERS],
        ([0.9] * 33, [Text("a")] * 33, 0.0),  # it speaks all the time
        ([0.4, 10.0, 0.5], [Text("a"), Arguments(0, "{}"), Arguments(0, "1")], 10.0 + 19.1),
        ([29.5], [Text("a")], 29.5),
    ],
    ids=repr,
)
def test_the_silence_in_which_it_may_have_thought(
    seconds: list[float], events: list[Event], silent: float
) -> None:
    """In thirty seconds. `seconds`: those before each of `events`."""
    now = [100.0]
    decoder = Scripted([])
    tally = Tally(decoder, lambda: now[0])
    for pause, event in zip(seconds, events, strict=True):
        now[0] += pause
        tally.decoder = Scripted([event])
        tally.feed(b"")
    now[0] = 130.0
    assert tally.silent == pytest.approx(silent)


@pytest.mark.parametrize(
    ("usage", "handed_on"),
    [
        (Usage(0, 0), True),
        (Usage(2**40, 2**40), True),
        (Usage(2**40 + 1, 0), False),
        (Usage(1, 2**64 - 1), False),
        (Usage(-1, 1), False),
        (Usage(1, -1), False),
        (Usage(1, 1, cached_tokens=2**64 - 1), False),
        (Usage(1, 1, cache_write_tokens=-1), False),
        (Usage(1, 1, reasoning_tokens=-1), False),
        (Usage(1, cast(int, "1")), False),
        (Usage(cast(int, 1.5), 1), False),
    ],
    ids=repr,
)
def test_a_usage_that_is_none_reaches_no_client(usage: Usage, handed_on: bool) -> None:
    events: list[Event] = [Text("a"), Used(usage), Finished("stop"), Ended()]
    tally = Tally(Scripted(events))
    wanted = events if handed_on else [Text("a"), Finished("stop"), Ended()]
    assert tally.feed(b"") == wanted
    assert tally.usage == usage, "it is for the bill to say what is charged"


def test_a_stream_of_pings_is_no_progress() -> None:
    tally = Tally(Scripted([]))
    for _ in range(1000):
        tally.feed(b": ping\n\n")
    assert (tally.spoke, tally.steps, tally.counted) == (False, 0, 0)
