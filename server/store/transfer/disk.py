"""What the disk is told, and what it means when it refuses."""

from __future__ import annotations

import ctypes
import os
from errno import EDQUOT, ENOSPC

from server.errors import StoreError
from server.store.transfer.want import Want
from server.units import format_bytes

_WRITE = 2  # SYNC_FILE_RANGE_WRITE of sync_file_range(2): begin, and do not wait
_sync_file_range = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def start_writing(descriptor: int, start: int, length: int) -> None:
    """Have the disk begin with these bytes, so that the fsync at the end has little left to do."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, length, _WRITE)


def disk_refused(want: Want, there: int, error: OSError) -> StoreError:
    """`there`: bytes of the file that are fetched and recorded."""
    path = want.part
    if error.errno not in (ENOSPC, EDQUOT):
        return StoreError(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            next_step="Check the folder and the disk, then run the same command again",
        )
    try:
        space = os.statvfs(path.parent)
        free = format_bytes(space.f_bavail * space.f_frsize)
    except OSError:
        free = "an unknown number"
    return StoreError(
        f"the disk is full: {path} needs {format_bytes(want.bytes - there)} more",
        why=f"{error.strerror}; {free} are free there, and {format_bytes(there)} of the file are "
        "fetched and kept",
        next_step="Make room, then run the same command again: it goes on from there",
    )
