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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import StoreError
from server.store import wholeness
from server.store.digest import blob_oid, sha256_of
from server.store.durable import sweep, sync_folder, unwritable, write_whole
from server.store.naming import checked, collisions, refusal
from server.store.receipt import Held, Receipt, now, read_receipt, write_receipt
from server.store.removal import drop_empty, set_aside

_APACHE = Path(__file__).parent / "licences" / "Apache-2.0.txt"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that was fetched, flushed and hashed."""

    held: Held
    staged: Path
    """Below the place's `incoming`, or at least on the same file system. It is taken away."""


@dataclass(frozen=True, slots=True)
class Place:
    repository: str
    revision: str
    folder: Path
    incoming: Path
    damaged: Path


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
    _check_names(held, arrivals)
    _check_bytes(held, arrivals)
    licence = licence or (before.licence if before else None)
    arrivals = _with_licence(place, held, arrivals, licence)
    _check_whole(place, held, arrivals)
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


def _check_names(held: Mapping[str, Held], arrivals: Sequence[Arrival]) -> None:
    names = [arrival.held.path for arrival in arrivals]
    for name in names:
        checked(name)
        if why := refusal(name):
            raise StoreError(f"{name} is refused", why=why, next_step="Leave it out")
    if len(set(names)) < len(names):
        raise StoreError("a file arrives twice under the same name")
    for one, other in collisions([*held, *names]):
        raise StoreError(
            f"{one} and {other} cannot lie in one folder everywhere",
            why="some file systems take them for the same name",
            next_step="Leave one of them out",
        )


def _check_bytes(held: Mapping[str, Held], arrivals: Sequence[Arrival]) -> None:
    for arrival in arrivals:
        file, known = arrival.held, held.get(arrival.held.path)
        if known is not None and known.sha256 != file.sha256:
            raise StoreError(
                f"{file.path} changed under the same revision",
                why=f"held is sha256 {known.sha256}, and this is {file.sha256}",
                next_step="The file that is held stays; `holdfast store watch` shows what upstream "
                "did",
            )
        try:
            size = arrival.staged.stat().st_size
        except OSError as error:
            raise StoreError(f"{arrival.staged} is gone", why=error.strerror or "") from error
        if size != file.bytes:
            raise StoreError(f"{arrival.staged} has {size} bytes, and should have {file.bytes}")


def _with_licence(
    place: Place, held: Mapping[str, Held], arrivals: Sequence[Arrival], licence: str | None
) -> Sequence[Arrival]:
    names = {*held, *(arrival.held.path for arrival in arrivals)}
    if (licence or "").lower() != "apache-2.0" or any(_is_licence(name) for name in names):
        return arrivals
    text = _APACHE.read_bytes()
    staged = place.incoming / "LICENSE.part"
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        sweep(staged.parent)
    except OSError as error:
        raise unwritable(staged, error) from error
    write_whole(staged, text, mode=0o644)
    file = Held("LICENSE", len(text), sha256_of(staged), blob_oid(text))
    return (*arrivals, Arrival(file, staged))


def _is_licence(name: str) -> bool:
    return name.lower().startswith(("license", "licence", "copying"))


def _check_whole(place: Place, held: Mapping[str, Held], arrivals: Sequence[Arrival]) -> None:
    """Refuses what would bring a problem that was not there: mending one of two is welcome."""
    old = {path: place.folder / path for path in held}
    new = old | {arrival.held.path: arrival.staged for arrival in arrivals}
    known = set(wholeness.problems_of(old)) if old else set()
    problems = [text for text in wholeness.problems_of(new) if text not in known]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise StoreError(
            f"{place.repository}@{place.revision[:12]} is not whole",
            why="; ".join(problems[:5]) + more,
            next_step="Nothing of it was made visible; what was fetched is kept",
        )


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
