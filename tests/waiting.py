"""Waiting for what must become true: however long that takes on a busy machine, up to a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psutil

PATIENCE = 60.0
"""Seconds."""


def wait_for(
    condition: Callable[[], object], timeout: float = PATIENCE, every: float = 0.05
) -> None:
    """Return once `condition()` is true; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(every)


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """The same for what goes on in this event loop."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs: one that has ended and waits to be collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
