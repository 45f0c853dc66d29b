"""Small files that are there whole or not at all, whatever happens in the middle."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from server.errors import StoreError

UNFINISHED = ".writing-"
"""How the names of files begin that `write_whole` had not finished when it was killed."""


def write_whole(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Replaces `path` by `data`: temporary file, fsync, rename, fsync of the folder.

    Raises StoreError if it cannot be written; the old file is then untouched.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def sweep(folder: Path) -> None:
    """Removes what killed writers left in `folder`; for one who writes there alone."""
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` last through a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be written",
        why=error.strerror or str(error),
        next_step="Check the folder's permissions and the free space, and try again",
    )
