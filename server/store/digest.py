"""Digests of files: sha256, and the ids under which git keeps them.

All reading is in pieces of 1 MiB into one buffer; hashlib gives up the interpreter's lock for each,
so threads hash on as many cores. An OSError is the caller's to tell.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from server.errors import StoreError
from server.units import MIB


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """sha256 in hexadecimal; `on_bytes` is told the length of each piece. Raises OSError."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
        if on_bytes is not None:
            on_bytes(len(piece))
    return digest.hexdigest()


def git_blob_oid(path: Path) -> str:
    """The id of the file's content as a git blob, which hubs give for files outside LFS.

    Raises OSError, and StoreError if the file changes while it is read.
    """
    size = path.stat().st_size
    digest = _blob(size)
    for piece in _pieces(path):
        digest.update(piece)
        size -= len(piece)
    if size:
        raise StoreError(f"{path} changed while it was read", next_step="Try again")
    return digest.hexdigest()


def blob_oid(content: bytes) -> str:
    """The id of `content` as a git blob."""
    digest = _blob(len(content))
    digest.update(content)
    return digest.hexdigest()


def lfs_pointer_oid(sha256: str, size: int) -> str:
    """The id of the git blob that stands in for an LFS file of `size` bytes.

    https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    """
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    ).encode()
    return blob_oid(pointer)


def _blob(size: int) -> hashlib._Hash:
    # git names its objects by sha1; it says which content is meant, and protects nothing here.
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _pieces(path: Path) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(MIB))
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := file.readinto(buffer):
            yield buffer[:count]
