"""Bytes brought to a local file so that they are known to be there: written, synced, read back."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from server.errors import StoreError
from server.store.copies.place import OnBytes
from server.store.durable import sync_folder
from server.units import MIB, format_bytes

Source = Callable[[int], io.RawIOBase]
"""Opens what is to be delivered, from an offset on."""

_CHUNK = 4 * MIB
_FULL = (errno.ENOSPC, errno.EDQUOT)


def deliver(source: Source, part: Path, size: int, sha256: str, on_bytes: OnBytes) -> None:
    """Fill `part` with the `size` bytes that `source` gives, and read it back from the disk.

    A `part` that a killed run left is gone on with. Whether its bytes are right shows when all are
    read back; if they are not (the power failed before they reached the disk), it is begun anew,
    once. Raises StoreError if the disk is full, in which case `part` stays, or if the bytes differ.
    """
    resumed = _pour(source, part, size, on_bytes)
    found = digest(open_at(part, 0), on_bytes)
    if found != sha256 and resumed:
        part.unlink()
        _pour(source, part, size, on_bytes)
        found = digest(open_at(part, 0), on_bytes)
    if found != sha256:
        part.unlink()
        raise differs(part.name.removesuffix(".part"), sha256, found, digest(source(0)))


def open_at(path: Path, offset: int) -> io.RawIOBase:
    """A file for reading as the disk holds it, its cached pages dropped. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    file = open(handle, "rb", buffering=0)  # noqa: SIM115 - the caller closes it
    file.seek(offset)
    return file


def digest(reader: io.RawIOBase, on_bytes: OnBytes = lambda _: None) -> str:
    """The sha256 of what is left to read, in hexadecimal. Closes `reader`."""
    hashed = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with reader:
        while count := reader.readinto(buffer):
            hashed.update(buffer[:count])
            on_bytes(count)
    return hashed.hexdigest()


def differs(what: str, expected: str, found: str, origin: str) -> StoreError:
    """The error for bytes that came back wrong: the source's fault, or that of the way or place."""
    if origin != expected:
        return StoreError(
            f"{what} was not written: what it is a copy of is damaged",
            why=f"its sha256 is {origin}, and should be {expected}",
            next_step="`holdfast verify --repair` mends it (of a copy with --copy); then try again",
        )
    return StoreError(
        f"{what} comes back otherwise than it was written",
        why=f"the sha256 read back is {found}, and should be {expected}",
        next_step="Do not trust this disk or its connection: look into its log (dmesg, smartctl)",
    )


def write_whole(part: Path, target: Path, data: bytes) -> None:
    """A small file at `target`, whole or not at all, by way of `part`. Raises StoreError.

    `part` lies where what a killed run leaves does no harm, on the same file system.
    """
    try:
        make_folder(part.parent)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(target, error, len(data)) from error
    settle(part, target)


def settle(part: Path, target: Path) -> None:
    """Give a synced file its name, read-only, and make that safe. Raises StoreError."""
    try:
        make_folder(target.parent)
        with contextlib.suppress(PermissionError):  # FAT, and links to files of somebody else
            part.chmod(0o444)
        part.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise unwritable(target, error) from error


def make_folder(folder: Path) -> None:
    """`folder` and what is missing above it, safe on the disk. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def unwritable(path: Path, error: OSError, size: int | None = None) -> StoreError:
    """The error for a file that cannot be written; of a full disk, with the bytes."""
    if error.errno in _FULL:
        place = next((one for one in path.parents if one.exists()), path.parent)
        needed = f"{format_bytes(size)} are needed, " if size else ""
        return StoreError(
            f"the disk of {place} is full",
            why=f"{needed}{format_bytes(shutil.disk_usage(place).free)} are free",
            next_step="Free some space, then run the same command again: it goes on where it was",
        )
    return StoreError(f"{path} cannot be written", why=error.strerror or str(error))


def _pour(source: Source, part: Path, size: int, on_bytes: OnBytes) -> bool:
    """Bring `part` to `size` bytes, synced; whether a former run had begun it."""
    try:
        make_folder(part.parent)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(handle, "r+b", buffering=0) as file:
            if os.fstat(handle).st_nlink > 1:  # never written through to what it is linked to
                raise OSError(errno.EMLINK, "it is linked to another file")
            begun = os.fstat(handle).st_size
            if begun > size:  # not of this file at all
                os.ftruncate(handle, 0)
                begun = 0
            on_bytes(begun)
            file.seek(begun)
            for data in _chunks(source, begun, size):
                _write(file, data)
                on_bytes(len(data))
            os.fsync(handle)
    except OSError as error:
        raise unwritable(part, error, size) from error
    return begun > 0


def _chunks(source: Source, begun: int, size: int) -> Iterator[memoryview]:
    """What `source` gives from `begun` to `size`; fewer bytes where it ends before."""
    buffer = memoryview(bytearray(min(_CHUNK, max(size - begun, 1))))
    try:
        with source(begun) as reader:
            while begun < size:
                count = reader.readinto(buffer[: size - begun])
                if not count:
                    return
                begun += count
                yield buffer[:count]
    except OSError as error:
        raise StoreError(
            f"{error.filename or 'the source'} cannot be read",
            why=error.strerror or str(error),
            next_step="Look into the log of its disk (dmesg, smartctl)",
        ) from error


def _write(file: io.RawIOBase, data: memoryview) -> None:
    while data:
        data = data[file.write(data) or 0 :]
