"""Where an engine stands in its lifecycle, and those who wait for that to change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from copy import copy

from server.engines.lifecycle import Event, State, next_state
from server.errors import EngineUnready, HoldfastError

_NOTICE = 0.5  # seconds in which an exit is certainly noticed; it takes about 15 ms


class Standing:
    """The state of the engine `name`; only its owner calls `enter`.

    `progress` tells how far it has come in loading, 0 to 1, for messages.
    """

    def __init__(self, name: str, progress: Callable[[], float | None]) -> None:
        self.state = State.ABSENT
        self.last_error: HoldfastError | None = None
        """Why the engine last ended, or why it was not started."""
        self.restarts = 0
        """Times that it was launched again after an exit."""
        self._name = name
        self._progress = progress
        self._since = time.monotonic()
        self._changed = asyncio.Event()

    @property
    def seconds(self) -> float:
        """Since the state was entered."""
        return time.monotonic() - self._since

    def enter(self, event: Event) -> None:
        """Follow `event`, and wake those who wait. Raises RuntimeError if it cannot happen now."""
        self.state = next_state(self.state, event)
        self._since = time.monotonic()
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> State:
        """The next state that is entered."""
        await self._changed.wait()
        return self.state

    async def wait_ready(self, patience: float | None) -> None:
        """Return when the state is ready. See Engine.wait_ready."""
        try:
            async with asyncio.timeout(patience):
                while self.state is not State.READY:
                    if self.state not in (State.ABSENT, State.STARTING, State.ASLEEP):
                        raise self.unready()
                    await self._changed.wait()
        except TimeoutError:
            raise self.unready() from None

    async def noticed(self) -> None:
        """Return when the state changes, or has had time to after something that ends a process."""
        if self.state is State.READY:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _NOTICE)

    def unready(self) -> HoldfastError:
        """Why the engine cannot be used now."""
        if self.state is State.FAILED and self.last_error is not None:
            return copy(self.last_error)  # each its own: a traceback keeps its frames alive
        if self.state is State.STARTING:
            progress = self._progress()
            return EngineUnready(
                f"{self._name} is loading",
                why=f"{progress:.0%} of it is in memory" if progress else "",
                next_step="Retry later",
                retry_after=5,
            )
        return EngineUnready(f"{self._name} is {self.state.value}")
