"""What of the store other machines may have: the files that receipts name, and nothing else.

A name from outside is looked up among the names that are held; none is ever joined to a path.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server.store.digest import lfs_pointer_oid
from server.store.naming import RECEIPT
from server.store.receipt import Held, Receipt
from server.store.shelf import Shelf

MAIN = "main"
_PREFIX = re.compile(r"[0-9a-f]{4,40}")

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class OfferedFile:
    path: str
    bytes: int
    sha256: str
    git_oid: str
    """Of the file as a git blob; of an LFS file, of its pointer."""
    lfs: bool
    """Also true of a file that the hub did not have, so that its sha256 goes along."""
    location: Path

    @property
    def etag(self) -> str:
        """What the hub gives as ETag, without the quotes."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True, slots=True)
class OfferedRevision:
    repository: str
    revision: str
    fetched: datetime
    licence: str | None
    files: Mapping[str, OfferedFile]
    """By path, in order."""


@dataclass(frozen=True, slots=True)
class Offer:
    """All that is offered at one time."""

    repositories: Mapping[str, tuple[OfferedRevision, ...]]
    """By name; each with its revisions, the one fetched last first."""

    def repository(self, name: str) -> tuple[OfferedRevision, ...]:
        """The revisions of a repository, whose name may differ in case; empty if none is held."""
        if (exact := self.repositories.get(name)) is not None:
            return exact
        same = [held for held in self.repositories if held.casefold() == name.casefold()]
        return self.repositories[same[0]] if len(same) == 1 else ()


def chosen(revisions: tuple[OfferedRevision, ...], name: str) -> OfferedRevision | None:
    """The revision that `name` means: `main` the one fetched last, else a commit or the beginning
    of exactly one. None: there is no such one, or more than one."""
    if name == MAIN:
        return revisions[0] if revisions else None
    if not _PREFIX.fullmatch(name):
        return None
    found = [one for one in revisions if one.revision.startswith(name)]
    return found[0] if len(found) == 1 else None


def offer(volumes: Iterable[tuple[Path, Receipt]]) -> Offer:
    """The offer that folders with their receipts make."""
    repositories: dict[str, list[OfferedRevision]] = {}
    for folder, receipt in volumes:
        files = {held.path: _file(folder, held) for held in receipt.files}
        repositories.setdefault(receipt.repository, []).append(
            OfferedRevision(
                receipt.repository, receipt.revision, receipt.fetched, receipt.licence, files
            )
        )
    return Offer(
        {
            name: tuple(sorted(held, key=lambda one: (one.fetched, one.revision), reverse=True))
            for name, held in sorted(repositories.items())
        }
    )


class Offering:
    """The offer of the store at `root`, or of a copy, read anew when asked.

    A revision whose receipt is damaged is left out, and the rest offered: `problems` says which.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamps: Mapping[Path, _Stamp] = {}
        self._offer = Offer({})
        self.problems: tuple[str, ...] = ()

    def read(self) -> Offer:
        """The offer as it is now; cheap while no receipt has changed. Reads the disk: not for the
        event loop. Raises StoreError if a folder cannot be read."""
        stamps = dict(_stamps(self._root))
        if stamps != self._stamps:
            volumes = Shelf(self._root).volumes()
            self._offer = offer(
                (volume.folder, volume.receipt) for volume in volumes if volume.receipt
            )
            self.problems = tuple(
                f"{volume.name}: {volume.problem}" for volume in volumes if volume.problem
            )
            self._stamps = stamps
        return self._offer


def _file(folder: Path, held: Held) -> OfferedFile:
    lfs = held.lfs or held.git_oid is None
    oid = held.git_oid or lfs_pointer_oid(held.sha256, held.bytes)
    return OfferedFile(held.path, held.bytes, held.sha256, oid, lfs, folder / held.path)


def _stamps(root: Path) -> Iterator[tuple[Path, _Stamp]]:
    """Every receipt below `root`, with what changes when it is written anew."""
    for path in root.glob(f"*/*/*/{RECEIPT}"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            yield path, (status.st_mtime_ns, status.st_size, status.st_ino)
