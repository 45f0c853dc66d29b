"""One engine of the fleet in its berth: what it does, and what was seen of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.occupant import Phase
from server.errors import HoldfastError

Doing = Literal["start", "wake", "stop", "sleep"]

_PHASES: dict[State, Phase] = {
    State.ABSENT: "off",
    State.STARTING: "starting",
    State.READY: "ready",
    State.ASLEEP: "asleep",
    State.DRAINING: "stopping",
    State.STOPPED: "off",
    State.FAILED: "failed",
}
_DOING: dict[Doing, Phase] = {
    "start": "starting",
    "wake": "starting",
    "stop": "stopping",
    "sleep": "dozing",
}


@dataclass(slots=True, eq=False)
class Tenure:
    """One engine in a berth, from when it is planned until it is gone."""

    berth: Berth
    engine: Engine
    doing: Doing | None = None
    """An action of the fleet that is under way."""
    begun: float = 0.0
    """When it was last started or woken."""
    woken: bool = False
    """Whether it was woken then."""
    ready_since: float = 0.0
    load_seconds: float = 0.0
    """Of its last load: measured, else estimated."""
    wake_seconds: float = 0.0
    buried: bool = False
    """Whether it was decided what follows its failure."""
    watchers: tuple[asyncio.Task[None], ...] = field(default=(), repr=False)

    def begin(self, kind: Doing, now: float) -> None:
        """`act` follows; from here on the fleet's decisions count with it."""
        self.doing = kind
        if kind in ("start", "wake"):
            self.begun, self.woken = now, kind == "wake"
        else:
            self.engine.queue.pause()  # lest a request begins before the engine hears of it

    async def act(self, kind: Doing) -> None:
        """Do what was begun. What goes wrong stays with the engine, and is seen there."""
        engine = self.engine
        try:
            if kind == "start":
                engine.queue.resize(engine.launch.slots)
                await engine.start()
            elif kind == "wake":
                await engine.wake()
            elif kind == "sleep":
                await engine.sleep()
            else:
                await engine.stop(0)
        except HoldfastError:
            if kind == "sleep" and engine.state is State.READY:
                engine.queue.resume()
        finally:
            self.doing = None

    def greet(self, now: float) -> None:
        """It has become ready."""
        self.ready_since = now
        if self.woken:
            self.wake_seconds = now - self.begun
        else:
            self.load_seconds = now - self.begun

    def unwatch(self) -> None:
        """Its engine is of no interest any more."""
        for watcher in self.watchers:
            watcher.cancel()

    @property
    def phase(self) -> Phase:
        return _PHASES[self.engine.state] if self.doing is None else _DOING[self.doing]
