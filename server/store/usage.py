"""What a store takes of the disk, and whether its files are there, by looking at names and sizes.

Files with several names (hard links) are counted once, for the first that has them; how many blocks
reflinks share no file system tells by `stat`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.store.shelf import Volume

Seen = set[tuple[int, int]]
"""Device and inode of what was counted already."""


@dataclass(frozen=True, slots=True)
class Usage:
    files: int
    bytes: int
    """As the files' sizes say."""
    disk: int
    """Bytes of blocks that stand for these files alone, or are counted here first."""


def usage(folder: Path, seen: Seen | None = None) -> Usage:
    """What lies in `folder`, however deep; nothing where it does not exist."""
    counted = set() if seen is None else seen
    files = size = disk = 0
    for status in _statuses(folder):
        files += 1
        size += status.st_size
        if (key := (status.st_dev, status.st_ino)) not in counted:
            counted.add(key)
            disk += status.st_blocks * 512  # stat(2): blocks of 512 bytes, whatever the disk's
    return Usage(files, size, disk)


def missing(volume: Volume) -> tuple[str, ...]:
    """The files of the receipt that are absent or of another size."""
    absent = []
    for held in volume.receipt.files if volume.receipt else ():
        try:
            status = (volume.folder / held.path).stat()
        except OSError:
            absent.append(held.path)
        else:
            if status.st_size != held.bytes or not stat.S_ISREG(status.st_mode):
                absent.append(held.path)
    return tuple(absent)


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile
                status = os.lstat(os.path.join(root, name))
                if stat.S_ISREG(status.st_mode):
                    yield status
