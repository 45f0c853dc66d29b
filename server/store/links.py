"""The same bytes at a second place, without storing them twice where the file system allows."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Literal

from server.errors import StoreError
from server.store.durable import unwritable
from server.units import MIB

Made = Literal["reflink", "hardlink", "copy"]

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_PIECE = 128 * MIB  # bytes asked of copy_file_range at a time, so that Ctrl-C is heard


def link_or_copy(source: Path, target: Path, allow_copy: bool = True) -> Made | None:
    """Puts the content of `source` at `target`, which must not exist, in a folder that does.

    A reflink is tried first (two files that share their blocks until one of them is written), then
    a hard link (one file with two names), then a copy, which is flushed to the disk. None: neither
    link was possible, and `allow_copy` is false. A symbolic link is followed. Raises StoreError,
    and leaves no `target` behind then.
    """
    try:
        source = source.resolve(strict=True)
    except OSError as error:
        raise StoreError(f"{source} cannot be read", why=error.strerror or "") from error
    try:
        if _reflink(source, target):
            return "reflink"
        if _hardlink(source, target):
            return "hardlink"
        if not allow_copy:
            return None
        _copy(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreError(
                f"no space is left for {target}",
                why=f"{source} has {source.stat().st_size} bytes",
                next_step="Free some and run the same command again",
            ) from error
        raise unwritable(target, error) from error
    return "copy"


def _reflink(source: Path, target: Path) -> bool:
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            os.fsync(new.fileno())
        except OSError:  # EOPNOTSUPP, EXDEV, EINVAL, ENOTTY: as many as there are file systems
            target.unlink()
            return False
    return True


def _hardlink(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # another file system, one without hard links, or a file of somebody else
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        try:
            left = os.fstat(old.fileno()).st_size
            while left and (count := _move(old.fileno(), new.fileno(), min(left, _PIECE))):
                left -= count
            if left:
                raise OSError(errno.EIO, f"{source} is shorter than it was", str(source))
            os.fsync(new.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise


def _move(old: int, new: int, count: int) -> int:
    """Bytes moved in the kernel: by copy_file_range, else by sendfile, which older ones need."""
    try:
        return os.copy_file_range(old, new, count)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return os.sendfile(new, old, None, min(count, 16 * MIB))
