"""Asking a second target where the first one is slow to begin. The first to begin answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def first_to_begin(
    first: Callable[[], Coroutine[Any, Any, T | None]],
    second: Callable[[], Coroutine[Any, Any, T | None]],
    after: float,
    may_hedge: Callable[[], bool],
    drop: Callable[[T], Awaitable[None]],
) -> T | None:
    """What `first` returns, or `second` where that is sooner, or the only one to return something;
    None where neither does.

    `second` begins once `first` has returned None, or after that many seconds if `may_hedge` then
    says so. Whichever is too late is cancelled, and has ended when this returns; what it had just
    returned is given to `drop`.
    """
    tasks = [asyncio.create_task(first())]
    won: asyncio.Task[T | None] | None = None
    try:
        await asyncio.wait(tasks, timeout=after)
        if not tasks[0].done() and not may_hedge():
            await asyncio.wait(tasks)
        if not tasks[0].done() or _failed(tasks[0]):
            tasks.append(asyncio.create_task(second()))
        won = await _first_done(tasks)
    finally:
        # Where the caller is cancelled, now or while this is waited for, nobody takes what was won.
        late = [task for task in tasks if task is not won]
        if await _in_any_case(_end(late, drop)) and won is not None:
            await _in_any_case(_end([won], drop))
            raise asyncio.CancelledError
    return won.result()


async def _first_done(tasks: list[asyncio.Task[T | None]]) -> asyncio.Task[T | None]:
    """The first task that did not fail; of two at once, the earlier in the list. If all fail, the
    last in the list."""
    while True:
        for task in tasks:
            if task.done() and not _failed(task):
                return task
        pending = [task for task in tasks if not task.done()]
        if not pending:
            return tasks[-1]
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


def _failed(task: asyncio.Task[T | None]) -> bool:
    """Whether it has ended, and nothing has begun."""
    return not task.cancelled() and task.exception() is None and task.result() is None


async def _in_any_case(ending: Coroutine[Any, Any, None]) -> bool:
    """Waits until `ending` is over; whether the caller was cancelled meanwhile."""
    task = asyncio.create_task(ending)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


async def _end(tasks: list[asyncio.Task[T | None]], drop: Callable[[T], Awaitable[None]]) -> None:
    """Cancel, and wait until each has put its affairs in order."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if ended is not None and not isinstance(ended, BaseException):
            await drop(ended)
