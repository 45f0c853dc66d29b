"""Asking a second target where the first one is slow to begin. The first to begin answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from server.errors import HoldfastError

T = TypeVar("T")


async def first_to_begin(
    first: Callable[[], Coroutine[Any, Any, T]],
    second: Callable[[], Coroutine[Any, Any, T]],
    after: float,
    may_hedge: Callable[[], bool],
    drop: Callable[[T], Awaitable[None]],
) -> T:
    """What `first` returns, or `second` where that is sooner, or the only one to return.

    `second` begins once `first` has raised HoldfastError, or after that many seconds if `may_hedge`
    then says so. Whichever is too late is cancelled, and has ended when this returns; one that had
    just returned as well is given to `drop`. Where both fail, `second`'s error is raised.
    """
    tasks = [asyncio.create_task(first())]
    won: asyncio.Task[T] | None = None
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


async def _first_done(tasks: list[asyncio.Task[T]]) -> asyncio.Task[T]:
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


def _failed(task: asyncio.Task[T]) -> bool:
    """Whether it has ended with an error that another target may make good."""
    return not task.cancelled() and isinstance(task.exception(), HoldfastError)


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


async def _end(tasks: list[asyncio.Task[T]], drop: Callable[[T], Awaitable[None]]) -> None:
    """Cancel, and wait until each has put its affairs in order."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(ended, BaseException):
            await drop(ended)
