"""Tells a streaming client, while it waits, that its request is alive and what it waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

FIRST_AFTER = 0.5
EVERY = 2.0
"""Seconds. Up to the first comment an error still gets its own HTTP status; intermediaries cut
streams that stay silent for 15 s or more."""


class Ticker:
    """Calls `tell(describe())` from time to time, until it is stopped.

    Costs one timer handle when the answer comes at once; a task exists only once it is slow.
    """

    def __init__(
        self,
        tell: Callable[[str], Awaitable[None]],
        describe: Callable[[], str],
        *,
        first_after: float = FIRST_AFTER,
        every: float = EVERY,
    ) -> None:
        self._tell = tell
        self._describe = describe
        self._every = every
        self.ticking = True
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(first_after, self._begin)

    async def stop(self) -> None:
        """End it, and wait until no write of its own is under way."""
        self.ticking = False
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._tell(self._describe())
            await asyncio.sleep(self._every)
