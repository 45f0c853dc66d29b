"""Files read from the disk that holds them, by several threads at once.

What was written or read lately lies in the page cache and would hide what the disk has made of it.
So the cached pages of a file are dropped before it is read, and again behind the reader, who thus
takes no memory from those who serve. Pages that an engine has mapped stay.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from server.units import MIB

OnBytes = Callable[[int], None]
T = TypeVar("T")
R = TypeVar("R")

_PIECE = MIB
_BEHIND = 32 * MIB
"""Bytes after which pages are dropped and the progress is told."""
_PATIENCE = 10.0
"""Seconds that a thread in the middle of a disk access is waited for."""


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """Nobody waits for the result any more."""


def sha256_from_disk(path: Path, on_bytes: OnBytes, *, cached: bool = False) -> str:
    """sha256 in hexadecimal; `on_bytes` is told of bytes as they are read.

    With `cached`, pages in memory are used as they are. Raises OSError, for a symlink too.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE))
    untold = done = 0
    with open(handle, "rb", buffering=0) as file:
        if not cached:
            _advise(handle, 0, os.POSIX_FADV_DONTNEED)
        _advise(handle, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            untold += count
            if untold >= _BEHIND:
                done += untold
                if not cached:
                    _advise(handle, done, os.POSIX_FADV_DONTNEED)
                on_bytes(untold)
                untold = 0
        if not cached:
            _advise(handle, 0, os.POSIX_FADV_DONTNEED)
    on_bytes(untold)
    return digest.hexdigest()


def _advise(handle: int, length: int, advice: int) -> None:
    """For the first `length` bytes, 0 for all. It is advice: file systems may not take it."""
    os.posix_fadvise(handle, 0, length, advice)


class Crew(Generic[T, R]):
    """Threads that work through a list in its order, for one who takes the results as they come."""

    def __init__(self, work: Callable[[T], R], jobs: int) -> None:
        self._work = work
        self._jobs = jobs
        self._stop = threading.Event()

    def check(self) -> None:
        """To be called by the work now and then. Raises Stopped when it is to end."""
        if self._stop.is_set():
            raise Stopped

    def results(
        self, items: Iterable[T], may_begin: Callable[[], bool] = lambda: True
    ) -> Generator[tuple[T, R | OSError], None, None]:
        """Each item with what its work returned, or its OSError; other errors are raised here.

        No item is begun once `may_begin` says no. Leaving the iteration stops work under way.
        """
        waiting = iter(tuple(items))
        taking = threading.Lock()
        done: queue.SimpleQueue[tuple[T, R | OSError] | BaseException | None] = queue.SimpleQueue()

        def member() -> None:
            try:
                while not self._stop.is_set() and may_begin():
                    with taking:
                        item = next(waiting)
                    done.put((item, self._one(item)))
            except (StopIteration, Stopped):
                pass
            except BaseException as error:
                done.put(error)
            finally:
                done.put(None)

        # Daemons: a thread that hangs in a dying disk must not keep the program from ending.
        threads = [threading.Thread(target=member, daemon=True) for _ in range(self._jobs)]
        for thread in threads:
            thread.start()
        try:
            yield from self._collected(done)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(_PATIENCE)

    def _one(self, item: T) -> R | OSError:
        try:
            return self._work(item)
        except OSError as error:
            return error

    def _collected(
        self, done: queue.SimpleQueue[tuple[T, R | OSError] | BaseException | None]
    ) -> Iterator[tuple[T, R | OSError]]:
        at_work = self._jobs
        while at_work:
            result = done.get()
            if result is None:
                at_work -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
