"""The life of an engine, as a table.

Nothing else decides what may follow what: the supervisor reports events, and `next_state` says
where they lead. `diagram` draws the table for ARCHITECTURE.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    ABSENT = "absent"  # known, never started
    STARTING = "starting"  # launched and loading, waking, or waiting to be launched again
    READY = "ready"  # answers requests
    ASLEEP = "asleep"  # keeps its weights in RAM and little else, and answers once it is woken
    DRAINING = "draining"  # finishes what runs, accepts nothing new
    STOPPED = "stopped"  # was asked to stop, and has no process
    FAILED = "failed"  # will not be launched again without being asked


class Event(Enum):
    START = "start"  # someone wants it
    ANSWERED = "answered"  # its health check said so
    SLEPT = "slept"  # its GPU memory is given back
    EXITED = "exited"  # its process is gone
    GAVE_UP = "gave up"  # launching it (again) is of no use
    STOP = "stop"  # someone wants it gone


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.ABSENT, Event.START): State.STARTING,
    (State.ABSENT, Event.STOP): State.STOPPED,
    (State.STARTING, Event.ANSWERED): State.READY,
    (State.STARTING, Event.EXITED): State.STARTING,
    (State.STARTING, Event.GAVE_UP): State.FAILED,
    (State.STARTING, Event.STOP): State.DRAINING,
    (State.READY, Event.EXITED): State.STARTING,
    (State.READY, Event.STOP): State.DRAINING,
    (State.READY, Event.SLEPT): State.ASLEEP,
    (State.ASLEEP, Event.START): State.STARTING,
    (State.ASLEEP, Event.EXITED): State.STOPPED,
    (State.ASLEEP, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.EXITED): State.STOPPED,
    (State.STOPPED, Event.START): State.STARTING,
    (State.STOPPED, Event.STOP): State.STOPPED,
    (State.FAILED, Event.START): State.STARTING,
    (State.FAILED, Event.STOP): State.STOPPED,
}


def next_state(state: State, event: Event) -> State:
    """The state that `event` leads to from `state`.

    Raises RuntimeError where the table has no such row: a bug in the supervisor.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise RuntimeError(f"{event.value!r} cannot happen to a {state.value} engine") from None


def diagram() -> str:
    """The table as a Mermaid state diagram, one arrow a row."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.ABSENT.value}"]
    lines += [
        f"    {state.value} --> {target.value}: {event.value}"
        for (state, event), target in TRANSITIONS.items()
    ]
    return "\n".join(lines)
