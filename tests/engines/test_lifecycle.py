from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from server.engines.lifecycle import TRANSITIONS, Event, State, diagram, next_state

S, E = State, Event


@pytest.mark.parametrize(
    ("story", "end"),
    [
        ([], S.ABSENT),
        ([E.START, E.ANSWERED], S.READY),
        ([E.START, E.ANSWERED, E.EXITED, E.ANSWERED], S.READY),
        ([E.START, E.EXITED, E.EXITED, E.GAVE_UP], S.FAILED),
        ([E.START, E.GAVE_UP, E.START, E.ANSWERED], S.READY),
        ([E.START, E.ANSWERED, E.STOP], S.DRAINING),
        ([E.START, E.ANSWERED, E.STOP, E.EXITED, E.START], S.STARTING),
        ([E.START, E.STOP, E.EXITED], S.STOPPED),
        ([E.START, E.ANSWERED, E.SLEPT, E.START, E.ANSWERED], S.READY),
        ([E.START, E.ANSWERED, E.SLEPT, E.START, E.EXITED, E.ANSWERED], S.READY),
        ([E.START, E.ANSWERED, E.SLEPT, E.EXITED], S.STOPPED),
        ([E.START, E.ANSWERED, E.SLEPT, E.STOP, E.EXITED], S.STOPPED),
        ([E.STOP, E.STOP], S.STOPPED),
        ([E.START, E.GAVE_UP, E.STOP], S.STOPPED),
    ],
)
def test_stories(story: list[Event], end: State) -> None:
    state = S.ABSENT
    for event in story:
        state = next_state(state, event)
    assert state is end


def test_what_the_table_does_not_hold_cannot_happen() -> None:
    illegal = [pair for pair in product(State, Event) if pair not in TRANSITIONS]
    assert (S.DRAINING, E.ANSWERED) in illegal, "a draining engine never becomes ready"
    for state, event in illegal:
        with pytest.raises(RuntimeError, match=f"cannot happen to a.* {state.value} engine"):
            next_state(state, event)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {S.ABSENT}
    while more := {t for (s, _), t in TRANSITIONS.items() if s in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State)


def test_the_diagram_is_the_table() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> absent"]
    assert len(lines) == 2 + len(TRANSITIONS)
    assert "    ready --> draining: stop" in lines


def test_the_architecture_document_shows_this_very_table() -> None:
    document = Path(__file__).parents[2] / "ARCHITECTURE.md"
    assert diagram() in document.read_text()
