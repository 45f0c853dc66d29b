"""From staged files to a revision that others see: all of it at once, or nothing.

The order is the point. Files are staged, flushed and hashed by who fetched them; here they are
checked together, named in the revision's folder, the folders are flushed, and the receipt comes
last. What is killed in between leaves the staged files as they were.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from server.store.admission import (
    Arrival,
    Place,
    check_bytes,
    check_names,
    check_whole,
    with_licence,
)
from server.store.durable import sync_folder, unwritable
from server.store.receipt import Receipt, now, read_receipt, write_receipt
from server.store.removal import drop_empty, set_aside


def publish(
    place: Place,
    arrivals: Sequence[Arrival],
    *,
    source: str,
    licence: str | None,
    fetched: datetime.datetime | None = None,
) -> Receipt:
    """Makes the staged files part of the revision, and returns its receipt.

    A new revision appears by one rename; to one that is there files are added, and become visible
    with the new receipt. The text of the Apache licence is added where the model is under it and
    the repository has none. The caller holds the store's lock and has verified every digest.
    `fetched` is for files that come back with their receipt; it is now where it is not given.

    Raises StoreError, with nothing changed, for a refused name, a file of another size than it
    should have, other bytes under a path that is held already, and whatever would leave the
    revision less than whole (see `wholeness`).
    """
    before = read_receipt(place.folder)
    held = {file.path: file for file in (before.files if before else ())}
    check_names(held, arrivals)
    check_bytes(held, arrivals)
    licence = licence or (before.licence if before else None)
    arrivals = with_licence(place, held, arrivals, licence)
    check_whole(place, held, arrivals)
    held |= {arrival.held.path: arrival.held for arrival in arrivals}
    files = tuple(sorted(held.values(), key=lambda file: file.path))
    receipt = Receipt(place.repository, place.revision, source, fetched or now(), files, licence)
    try:
        if place.folder.is_dir():
            _add(place, before, arrivals, receipt)
        else:
            _appear(place, arrivals, receipt)
        _make_read_only(place.folder, arrivals)
        for arrival in arrivals:
            arrival.staged.unlink(missing_ok=True)
        _tidy(place, receipt)
    except OSError as error:
        raise unwritable(Path(error.filename or place.folder), error) from error
    return receipt


def _appear(place: Place, arrivals: Sequence[Arrival], receipt: Receipt) -> None:
    stage = place.incoming.with_name(f"{place.incoming.name}.whole")
    if stage.exists():  # left by one that was killed
        shutil.rmtree(stage)
    stage.mkdir(parents=True)
    for arrival in arrivals:
        _name(arrival.staged, stage / arrival.held.path)
    _sync_folders(stage, arrivals)
    write_receipt(stage, receipt)
    parents = _made(place.folder.parent)
    os.rename(stage, place.folder)
    for parent in parents:
        sync_folder(parent)


def _add(
    place: Place, before: Receipt | None, arrivals: Sequence[Arrival], receipt: Receipt
) -> None:
    for arrival in arrivals:
        path = arrival.held.path
        target = place.folder / path
        # A file that no receipt names was put there by somebody: it is not ours to throw away.
        if before is not None and before.file(path) is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(arrival.staged, target)
            continue
        if target.exists():
            if target.samefile(arrival.staged):  # adopted where it lies
                continue
            set_aside(target, place.damaged, path)
        _name(arrival.staged, target)
    _sync_folders(place.folder, arrivals)
    write_receipt(place.folder, receipt)


def _name(staged: Path, target: Path) -> None:
    """Gives the staged file its name. It keeps the old one, too, until all is done, so that being
    killed costs nothing; where there are no hard links it is moved."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(staged, target)
    except OSError:
        os.rename(staged, target)


def _sync_folders(root: Path, arrivals: Sequence[Arrival]) -> None:
    folders = {root}
    for arrival in arrivals:
        path = root / arrival.held.path
        folders |= {parent for parent in path.parents if root in parent.parents}
    for folder in sorted(folders, reverse=True):
        sync_folder(folder)


def _made(folder: Path) -> list[Path]:
    """Makes `folder`; the folders, from the inside out, whose names then have to be flushed."""
    changed = [folder]
    missing = folder
    while not missing.exists():
        missing = missing.parent
        changed.append(missing)
    folder.mkdir(parents=True, exist_ok=True)
    return changed


def _make_read_only(folder: Path, arrivals: Sequence[Arrival]) -> None:
    for arrival in arrivals:
        with contextlib.suppress(PermissionError):  # a hard link to a file of somebody else
            (folder / arrival.held.path).chmod(0o444)


def _tidy(place: Place, receipt: Receipt) -> None:
    """Removes what is left of downloads that are done, by this run or by one that was killed."""
    if place.incoming.is_dir():
        for held in receipt.files:
            for suffix in (".part", ".part.journal"):
                (place.incoming / f"{held.path}{suffix}").unlink(missing_ok=True)
        for folder, _, _ in os.walk(place.incoming, topdown=False):
            with contextlib.suppress(OSError):  # not empty: more is under way
                os.rmdir(folder)
    drop_empty(place.incoming.parent, 3)
