"""What the fleet needs of the world around it: engines, a look at the machine, another plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field

from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.slots import SlotQueue
from server.engines.watchdog import Watchdog
from server.planning.deployment import Deployment
from server.planning.rig import Rig

Replan = Callable[[Rig, tuple[Deployment, ...]], tuple[Berth, ...]]
"""What is to run on a machine that has changed, where these deployments run now. It takes seconds:
for a thread. Raises HoldfastError."""


@dataclass(frozen=True, slots=True)
class Yard:
    """What the fleet needs of the world around it."""

    engine: Callable[[Deployment, SlotQueue], Engine]
    """Makes an engine whose requests wait in that queue. Raises HoldfastError."""
    lower: Callable[[Berth, Collection[Deployment]], Berth | None] | None = None
    """What to try when a berth's engine had too little memory (ladder.py): run in a thread."""
    survey: Callable[[tuple[int, ...]], Rig] | None = None
    """What the machine has for engines, where the processes with these pids are ours: I/O, run in a
    thread."""
    replan: Replan | None = None
    queue_limit: int = 64
    """Requests that may wait for one build."""
    watchdog: Watchdog = field(default_factory=Watchdog)
    record: Callable[[Engine, Deployment], Coroutine[None, None, None]] | None = None
    """Keeps what an engine teaches, for as long as it is planned (bookkeeping.py)."""
