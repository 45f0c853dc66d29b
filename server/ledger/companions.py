"""The files beside the book: the lock of the one who writes it, and its secret."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from server.errors import LedgerUnavailable


def take_lock(path: Path) -> int:
    """The right to write the book at `path`, for as long as the returned descriptor is open.

    Raises LedgerUnavailable where another process has it, OSError.
    """
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise LedgerUnavailable(
            f"the ledger {path} is being written by process {holder or 'unknown'}",
            next_step="Stop it first; one Holdfast writes a ledger",
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def read_secret(path: Path, *, make: bool = False) -> bytes:
    """The secret of the book at `path`, from the file beside it; made where there is none, with
    `make`. Raises OSError."""
    file = path.with_name(f"{path.name}.secret")
    try:
        secret = file.read_bytes()
    except FileNotFoundError:
        if not make:
            raise
        secret = secrets.token_bytes(32)
        fresh = file.with_name(f"{file.name}.new")
        with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as made:
            made.write(secret)
            made.flush()
            os.fsync(made.fileno())
        fresh.replace(file)
    return secret
