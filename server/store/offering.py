"""What of the store other machines may have: the files that receipts name, and nothing else.

A name from outside is looked up among the names that are held; none is ever joined to a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server.errors import StoreError
from server.store.digest import lfs_pointer_oid
from server.store.naming import RECEIPT
from server.store.receipt import Held, Receipt, read_receipt

MAIN = "main"
_REVISION = re.compile(r"[0-9a-f]{40}")
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

    Receipts that have not changed are not read again. One that is malformed is left out, and the
    rest offered: `problems` says which.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._receipts: dict[Path, tuple[_Stamp, Receipt | None]] = {}
        self._offer = Offer({})
        self.problems: tuple[str, ...] = ()

    def read(self) -> Offer:
        """The offer as it is now. Reads the disk: not for the event loop."""
        receipts: dict[Path, tuple[_Stamp, Receipt | None]] = {}
        problems = []
        for folder in _folders(self._root):
            stamp = _stamp(folder / RECEIPT)
            if stamp is None:
                continue
            known = self._receipts.get(folder)
            if known is None or known[0] != stamp:
                try:
                    known = (stamp, _receipt(folder))
                except StoreError as error:
                    problems.append(error.sentence)
                    continue
            receipts[folder] = known
        self.problems = tuple(problems)
        if receipts != self._receipts:
            self._receipts = receipts
            self._offer = offer(
                (folder, receipt) for folder, (_, receipt) in receipts.items() if receipt
            )
        return self._offer


def _file(folder: Path, held: Held) -> OfferedFile:
    lfs = held.lfs or held.git_oid is None
    oid = held.git_oid or lfs_pointer_oid(held.sha256, held.bytes)
    return OfferedFile(held.path, held.bytes, held.sha256, oid, lfs, folder / held.path)


def _receipt(folder: Path) -> Receipt | None:
    """The receipt of a folder. Raises StoreError if it is malformed or lies in the wrong place."""
    receipt = read_receipt(folder)
    if receipt is not None:
        name = f"{folder.parent.parent.name}/{folder.parent.name}"
        if (receipt.repository, receipt.revision) != (name, folder.name):
            raise StoreError(
                f"the receipt in {folder} is that of {receipt.repository} at {receipt.revision}",
                next_step="Move the folder to its place, or pull the model again",
            )
    return receipt


def _folders(root: Path) -> Iterator[Path]:
    """Every `<org>/<name>/<revision>` below `root`; hidden folders are the store's own."""
    for organisation in _visible(root):
        for repository in _visible(organisation):
            for folder in _visible(repository):
                if _REVISION.fullmatch(folder.name):
                    yield folder


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.name[0] != "." and one.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []  # removed in the meantime, or never made
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be read",
            why=error.strerror or str(error),
            next_step="Check its permissions, and the disk",
        ) from error


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a receipt is written anew; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
