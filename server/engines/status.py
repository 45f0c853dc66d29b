"""One look at an engine, for people and their tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.engines.lifecycle import State
from server.engines.program import Buffer


@dataclass(frozen=True, slots=True)
class EngineStatus:
    name: str
    state: State
    pid: int | None
    seconds: float
    """Since it entered this state."""
    restarts: int
    slots: int
    running: int
    """Slots in use."""
    waiting: int
    """Requests that wait for slots."""
    context: int
    """Tokens of each slot."""
    progress: float | None
    """Of loading, 0 to 1; None unless it is starting."""
    stage: str | None
    """What a process last said it was doing."""
    buffers: tuple[Buffer, ...]
    """What the engine says it has reserved."""
    rss: int
    """Bytes of RAM that it has resident."""
    last_error: str | None
    log_tail: tuple[str, ...]
    """The last lines of a failed engine; of one that runs they are in the file."""
    log_file: Path
    socket: Path
    argv: tuple[str, ...]
