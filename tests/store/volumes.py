"""Revisions in a store, made of whatever bytes a test wants: for what reads and mends them."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from server.store.digest import blob_oid, lfs_pointer_oid
from server.store.receipt import Held, Receipt, write_receipt
from server.store.shelf import Shelf, Volume

REVISION = "ab" * 20


def make_volume(
    root: Path,
    files: Mapping[str, bytes],
    repository: str = "acme/tiny",
    revision: str = REVISION,
) -> Volume:
    """Writes the files with their receipt, read-only as a pull leaves them."""
    folder = root / repository / revision
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        (folder / path).chmod(0o444)
    held = tuple(held_of(path, data) for path, data in sorted(files.items()))
    fetched = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    receipt = Receipt(repository, revision, "https://hub.example", fetched, held, "apache-2.0")
    write_receipt(folder, receipt)
    volume = Shelf(root).volume(repository, revision)
    assert volume is not None
    return volume


def held_of(path: str, data: bytes) -> Held:
    sha256 = hashlib.sha256(data).hexdigest()
    lfs = path.endswith((".gguf", ".safetensors"))
    oid = lfs_pointer_oid(sha256, len(data)) if lfs else blob_oid(data)
    return Held(path, len(data), sha256, oid, lfs)


def flip(path: Path, bit: int) -> None:
    """Turns over one bit of a file, as a disk does: its times stay as they were."""
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
        os.fsync(file.fileno())
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
