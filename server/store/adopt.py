"""Taking weights over that other tools have fetched, each file verified before it is shown.

A file is linked where the file system allows (see `links`), so that a cache and the store hold the
bytes once, and what is then in the store is read and hashed: nothing of the cache is believed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.catalogue import Catalogue
from server.errors import HoldfastError, StoreError
from server.store.copies.crew import each
from server.store.copies.place import OnBytes
from server.store.digest import git_blob_oid, lfs_pointer_oid, sha256_of
from server.store.durable import unwritable
from server.store.finds import Find, Finds
from server.store.hub import Remote
from server.store.links import Made, link_or_copy
from server.store.receipt import Held, Receipt
from server.store.shelf import Arrival, Shelf


@dataclass(frozen=True, slots=True)
class Expected:
    """A find, and what it must be: by the catalogue, else by the hub, else by its own place."""

    find: Find
    bytes: int | None = None
    sha256: str | None = None
    git_oid: str | None = None
    """Of the file itself, where `sha256` is None, and else of its LFS pointer."""
    lfs: bool = False

    @property
    def is_proven(self) -> bool:
        """Whether anything says what it must be."""
        return bool(self.sha256 or self.git_oid)


@dataclass(slots=True)
class Adopted:
    """What became of the finds of one revision."""

    repository: str
    revision: str
    receipt: Receipt | None = None
    """None where nothing was left to take."""
    files: dict[str, Made] = field(default_factory=dict)
    """Taken, and how."""
    held: tuple[str, ...] = ()
    """The store had them already."""
    unproven: tuple[str, ...] = ()
    """Left out: nothing says what they must be."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Left out: they are not what they must be, and how so."""


def known_files(catalogue: Catalogue, repository: str, revision: str) -> Mapping[str, Remote]:
    """The files of this revision whose sha256 the catalogue knows."""
    known = {}
    for model in catalogue.models.values():
        for build in model.builds:
            if (build.repository, build.revision) != (repository, revision):
                continue
            for file in (*build.files, *((build.mmproj,) if build.mmproj else ())):
                if file.sha256 is not None and file.bytes is not None:
                    oid = lfs_pointer_oid(file.sha256, file.bytes)
                    known[file.path] = Remote(file.path, file.bytes, file.sha256, oid)
    return known


def licence_of(catalogue: Catalogue, repository: str) -> str | None:
    """The licence of the model whose repository this is, where the catalogue has it."""
    return next(
        (
            model.licence
            for model in catalogue.models.values()
            if any(build.repository == repository for build in model.builds)
        ),
        None,
    )


def expectations(finds: Finds, known: Iterable[Mapping[str, Remote]]) -> tuple[Expected, ...]:
    """Each find with what it must be; `known` are the sources, the most trusted first."""
    sources = tuple(known)
    return tuple(_expected(find, sources) for find in finds.files)


def adopt(
    finds: Finds,
    expected: Sequence[Expected],
    shelf: Shelf,
    *,
    licence: str | None,
    trust: bool = False,
    on_bytes: OnBytes = lambda count: None,
) -> Adopted:
    """Takes the finds into the store. The caller holds its lock.

    Files that are not what they must be are left out, and so are those of which nothing says what
    they must be, unless `trust`: then they are recorded as they are. `on_bytes` is told of what is
    read, by any thread. Raises StoreError if what is left is not whole; it is staged then, and
    `holdfast pull` fetches only the rest.
    """
    volume = shelf.volume(finds.repository, finds.revision)
    receipt = volume.receipt if volume else None
    held = {file.path for file in receipt.files} if receipt else set()
    new = [one for one in expected if one.find.path not in held]
    wanted = [one for one in new if one.is_proven or trust]
    done = Adopted(
        finds.repository,
        finds.revision,
        receipt,
        held=tuple(one.find.path for one in expected if one.find.path in held),
        unproven=tuple(one.find.path for one in new if not (one.is_proven or trust)),
    )
    incoming = shelf.incoming(finds.repository, finds.revision)
    in_place = shelf.folder(finds.repository, finds.revision).resolve() == finds.origin
    arrivals = _staged(wanted, incoming, done, in_place, on_bytes)
    if arrivals:
        done.receipt = shelf.publish(
            finds.repository,
            finds.revision,
            arrivals,
            source=receipt.source if receipt else f"adopted from {finds.origin}",
            licence=licence,
        )
    return done


def _staged(
    wanted: Sequence[Expected], incoming: Path, done: Adopted, in_place: bool, on_bytes: OnBytes
) -> list[Arrival]:
    """The finds that are what they must be, linked into `incoming` and read there."""
    arrivals: dict[str, Arrival] = {}

    def take(one: Expected, on_bytes: OnBytes) -> None:
        staged = incoming / f"{one.find.path}.part"
        made = _linked(one.find.file, staged, in_place)
        try:
            arrivals[one.find.path] = Arrival(_verified(one, staged, on_bytes), staged)
        except BaseException:
            # It shares its bytes with the original: a download must not go on inside it.
            staged.unlink(missing_ok=True)
            raise
        done.files[one.find.path] = made

    def note(one: Expected, error: HoldfastError | None) -> None:
        if error is not None:
            done.damaged[one.find.path] = error.sentence

    largest_first = sorted(wanted, key=lambda one: -_size(one.find.file))
    jobs = len(os.sched_getaffinity(0))
    each(largest_first, take, jobs=jobs, on_bytes=on_bytes, on_done=note)
    return [arrivals[path] for path in sorted(arrivals)]


def _linked(file: Path, staged: Path, in_place: bool) -> Made:
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.unlink(missing_ok=True)
        staged.with_name(f"{staged.name}.journal").unlink(missing_ok=True)
        if in_place:  # it gets a receipt and stays the file that it is
            os.link(file, staged)
            return "hardlink"
    except OSError as error:
        raise unwritable(staged, error) from error
    made = link_or_copy(file, staged)
    assert made is not None
    return made


def _verified(one: Expected, staged: Path, on_bytes: OnBytes) -> Held:
    """The file as the receipt will name it. Raises StoreError if it is not what it must be."""
    path = one.find.path
    try:
        size = staged.stat().st_size
        if one.bytes not in (None, size):
            raise StoreError(f"it has {size} bytes, and should have {one.bytes}")
        sha256 = sha256_of(staged, on_bytes)
        if one.sha256 is not None and sha256 != one.sha256:
            raise StoreError(f"its sha256 is {sha256}, and should be {one.sha256}")
        if one.lfs:
            return Held(path, size, sha256, lfs_pointer_oid(sha256, size), lfs=True)
        git_oid = git_blob_oid(staged)
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror or error}") from error
    if one.sha256 is None and one.git_oid not in (None, git_oid):
        raise StoreError(f"its git id is {git_oid}, and should be {one.git_oid}")
    return Held(path, size, sha256, git_oid)


def _expected(find: Find, sources: Sequence[Mapping[str, Remote]]) -> Expected:
    for source in sources:
        if remote := source.get(find.path):
            lfs = remote.sha256 is not None
            return Expected(find, remote.bytes, remote.sha256, remote.git_oid, lfs)
    return Expected(find, None, find.sha256, find.git_oid, find.sha256 is not None)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
