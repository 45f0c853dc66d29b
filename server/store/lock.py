"""One writer at a time: a lock on the store's folder. Readers take none, and go on meanwhile."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.errors import StoreError, StoreLocked

_LONGEST = 1024  # bytes of what the holder says of itself


@contextmanager
def store_lock(models: Path, command: str) -> Iterator[None]:
    """Holds `<models>/.lock` until the block ends, or this process does, however it ends.

    Makes the folder if it is not there. Raises StoreLocked at once if another process holds the
    lock, naming it, and StoreError if the folder cannot be written.
    """
    path = models / ".lock"
    try:
        models.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(models, handle) from None
        except OSError as error:  # ENOLCK and the like, of network file systems
            raise _unusable(path, error) from error
        # The text is for people only. It may outlive its writer; the lock itself never does.
        _write(handle, f"{os.getpid()}\n{socket.gethostname()}\n{command}\n")
        try:
            yield
        finally:
            _write(handle, "")
    finally:
        os.close(handle)


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode()[:_LONGEST], 0)


def _held(models: Path, handle: int) -> StoreLocked:
    lines = os.pread(handle, _LONGEST, 0).decode(errors="replace").split("\n")
    pid, host, command = (*lines, "", "", "")[:3]
    if not pid.isdecimal():
        holder = "another program"
    else:
        elsewhere = f" on {host}" if host != socket.gethostname() else ""
        holder = f"process {pid}{elsewhere} ({command})"
    holder = "".join(letter if letter.isprintable() else "?" for letter in holder)
    return StoreLocked(
        f"{holder} is writing to {models}",
        next_step="Wait until it is done, or end it, and try again",
    )


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be locked",
        why=error.strerror or str(error),
        next_step="Check the folder's permissions, or name another --home",
    )
