"""Work on many files at once, by threads: reading, hashing and writing release the interpreter."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from typing import TypeVar

from server.errors import HoldfastError, HubError
from server.store.copies.place import OnBytes

T = TypeVar("T")


def each(
    items: Sequence[T],
    work: Callable[[T, OnBytes], None],
    *,
    jobs: int,
    on_bytes: OnBytes,
    on_done: Callable[[T, HoldfastError | None], None],
) -> None:
    """`work` done on each item, `jobs` at a time; `on_done` is told of each in the calling thread.

    An item's own error is told and the others go on. Where the place is out of reach (HubError), or
    this thread is interrupted, work under way stops at its next piece, and the error is raised.
    """
    stop = threading.Event()

    def watched(count: int) -> None:
        if stop.is_set():
            raise CancelledError
        on_bytes(count)

    def member(item: T) -> HoldfastError | None:
        if stop.is_set():  # one item's error has ended all: no other is begun
            raise CancelledError
        try:
            work(item, watched)
        except HoldfastError as error:
            if not isinstance(error, HubError):
                return error
            stop.set()
            raise
        except BaseException:
            stop.set()
            raise
        return None

    with ThreadPoolExecutor(jobs, "copies") as pool:
        futures = {pool.submit(member, item): item for item in items}
        try:
            for future in as_completed(futures):
                with contextlib.suppress(CancelledError):  # by an error that is still to come
                    on_done(futures[future], future.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
