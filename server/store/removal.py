"""Taking files off a shelf: set aside, or removed. The caller holds the store's lock."""

from __future__ import annotations

import datetime
import os
import shutil
from dataclasses import replace
from pathlib import Path

from server.errors import StoreError
from server.store.durable import sync_folder, unwritable
from server.store.receipt import Receipt, write_receipt


def set_aside(file: Path, damaged: Path, path: str) -> Path:
    """Moves `file` to `<damaged>/<path>.<UTC time>`, a name that is free. Raises StoreError."""
    time = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    target = damaged / f"{path}.{time}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = damaged / f"{path}.{time}-{number}"
        os.rename(file, target)
        sync_folder(target.parent)
        sync_folder(file.parent)
    except OSError as error:
        raise unwritable(target, error) from error
    return target


def remove_whole(folder: Path, incoming: Path) -> None:
    """Removes a revision and its downloads: it vanishes by one rename. Raises StoreError."""
    going = incoming.with_name(f"{incoming.name}.removed")
    try:
        going.parent.mkdir(parents=True, exist_ok=True)
        if going.exists():  # left by one that was killed
            shutil.rmtree(going)
        os.rename(folder, going)
        sync_folder(folder.parent)
        shutil.rmtree(going)
        if incoming.exists():
            shutil.rmtree(incoming)
    except OSError as error:
        raise _unremovable(Path(error.filename or folder), error) from error
    drop_empty(folder.parent, 2)
    drop_empty(incoming.parent, 3)


def remove_files(folder: Path, receipt: Receipt | None, paths: frozenset[str]) -> None:
    """Removes files that the receipt names: it is rewritten first, so it never names too much."""
    if receipt is None:
        raise StoreError(
            f"{folder} has no receipt, so single files of it cannot be removed",
            next_step="Remove the whole revision, or the files by hand",
        )
    going = tuple(held for held in receipt.files if held.path in paths)
    staying = tuple(held for held in receipt.files if held.path not in paths)
    write_receipt(folder, replace(receipt, files=staying))
    for held in going:
        try:
            (folder / held.path).unlink(missing_ok=True)
        except OSError as error:
            raise _unremovable(folder / held.path, error) from error
        inner = held.path.count("/")
        drop_empty((folder / held.path).parent, inner)


def drop_empty(folder: Path, levels: int) -> None:
    """Removes `folder` and up to `levels` folders in all upwards, as long as they are empty.

    One that is gone already is passed over.
    """
    for _ in range(levels):
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # not empty
            return
        folder = folder.parent


def _unremovable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be removed",
        why=error.strerror or str(error),
        next_step="Check the folder's permissions and try again",
    )
