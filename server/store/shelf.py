"""The folders of a store, and what stands in them. A copy of a store is a shelf as well.

    <root>/<org>/<name>/<revision>/       a revision: its files, SHA256SUMS, the receipt
    <root>/.incoming/...                  downloads under way, and folders being made or removed
    <root>/.damaged/...                   files set aside

Reading needs no lock. What writes says so, and is called below `lock.store_lock`.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.catalogue.catalogue import shorten
from server.errors import StoreError
from server.store import publication, removal
from server.store.admission import Arrival, Place
from server.store.receipt import REPOSITORY, REVISION, Receipt, read_receipt

__all__ = ["Arrival", "Shelf", "Volume"]


@dataclass(frozen=True, slots=True)
class Volume:
    """A revision of a repository as it stands on a shelf."""

    repository: str
    revision: str
    folder: Path
    receipt: Receipt | None
    """None where the files were put there by hand, or where there is a problem."""
    problem: str | None = None
    """What is wrong with the receipt."""

    @property
    def name(self) -> str:
        """`org/name@revision`, the revision cut to twelve digits, as messages say it."""
        return f"{self.repository}@{self.revision[:12]}"


class Shelf:
    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, repository: str, revision: str) -> Path:
        """Where the revision stands or would stand. Raises StoreError for an impossible name."""
        return self.root / _sound(repository, revision)

    def incoming(self, repository: str, revision: str) -> Path:
        """Where the revision's files are staged, on the same file system."""
        return self.root / ".incoming" / _sound(repository, revision)

    def damaged(self, repository: str, revision: str) -> Path:
        return self.root / ".damaged" / _sound(repository, revision)

    def volume(self, repository: str, revision: str) -> Volume | None:
        folder = self.folder(repository, revision)
        return _volume(repository, revision, folder) if folder.is_dir() else None

    def volumes(self, repository: str | None = None) -> tuple[Volume, ...]:
        """Every revision, or those of one repository, by name and revision.

        A damaged receipt is told in `Volume.problem`. Raises StoreError if a folder is unreadable.
        """
        pattern = repository or "*/*"
        if repository is not None and not REPOSITORY.fullmatch(repository):
            return ()
        try:
            return tuple(
                _volume(f"{folder.parent.parent.name}/{folder.parent.name}", folder.name, folder)
                for folder in sorted(self.root.glob(f"{pattern}/*"))
                if not folder.parent.parent.name.startswith(".")
                and REVISION.fullmatch(folder.name)
                and folder.is_dir()
            )
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.root} cannot be read",
                why=error.strerror or str(error),
                next_step="Check its permissions, and the disk",
            ) from error

    def find(self, name: str) -> tuple[Volume, ...]:
        """The revisions that `name` means: `org/name`, `name`, or either with `@` and the first
        digits of a revision; in any case. Raises StoreError with the nearest names.
        """
        wanted, _, prefix = name.partition("@")
        all_of_them = self.volumes()
        found = tuple(
            volume
            for volume in all_of_them
            if wanted.casefold() in _names(volume.repository)
            and volume.revision.startswith(prefix.lower())
        )
        if found:
            return found
        held = {v.repository: None for v in all_of_them}
        if prefix and (same := [v.name for v in all_of_them if v.repository in held]):
            same = [text for text in same if wanted.casefold() in _names(text.partition("@")[0])]
            if same:
                raise _absent(name, f"Held of it: {', '.join(same)}")
        raise _absent(name, _nearest(wanted, list(held)))

    def by_sha256(self, leave_out: Collection[Path] = ()) -> Mapping[str, Path]:
        """Where each content lies that receipts name and whose file has the right size.

        Files in `leave_out` do not count.
        """
        found: dict[str, Path] = {}
        for volume in self.volumes():
            for held in volume.receipt.files if volume.receipt else ():
                path = volume.folder / held.path
                if held.sha256 in found or path in leave_out:
                    continue
                with contextlib.suppress(OSError):
                    if path.stat().st_size == held.bytes:
                        found[held.sha256] = path
        return found

    def publish(
        self,
        repository: str,
        revision: str,
        arrivals: Sequence[Arrival],
        *,
        source: str,
        licence: str | None,
        fetched: datetime.datetime | None = None,
    ) -> Receipt:
        """Makes staged files visible, all at once; see `publication.publish`. Writes."""
        return publication.publish(
            Place(
                repository,
                revision,
                folder=self.folder(repository, revision),
                incoming=self.incoming(repository, revision),
                damaged=self.damaged(repository, revision),
            ),
            arrivals,
            source=source,
            licence=licence,
            fetched=fetched,
        )

    def set_aside(self, volume: Volume, path: str) -> Path:
        """Moves a file of the volume below `.damaged`, and returns its new place. Writes."""
        return removal.set_aside(
            volume.folder / path, self.damaged(volume.repository, volume.revision), path
        )

    def remove(self, volume: Volume, paths: Collection[str] | None = None) -> None:
        """Removes the volume with its downloads, or some of its files by the receipt. Writes.

        A reader sees the volume whole or not at all, and a receipt never names what is gone.
        """
        if paths is None:
            incoming = self.incoming(volume.repository, volume.revision)
            removal.remove_whole(volume.folder, incoming)
        else:
            removal.remove_files(volume.folder, volume.receipt, frozenset(paths))


def _volume(repository: str, revision: str, folder: Path) -> Volume:
    try:
        receipt = read_receipt(folder)
    except StoreError as error:
        return Volume(repository, revision, folder, None, error.sentence)
    if receipt and (receipt.repository, receipt.revision) != (repository, revision):
        other = f"{receipt.repository}@{receipt.revision[:12]}"
        return Volume(repository, revision, folder, None, f"its receipt is that of {other}")
    return Volume(repository, revision, folder, receipt)


def _sound(repository: str, revision: str) -> str:
    if not REPOSITORY.fullmatch(repository):
        raise StoreError(
            f"{shorten(ascii(repository))} is not the name of a repository",
            next_step='Write it as "org/name"',
        )
    if not REVISION.fullmatch(revision):
        raise StoreError(
            f"{shorten(ascii(revision))} is not a revision",
            next_step="Give a commit of 40 hexadecimal digits",
        )
    return f"{repository}/{revision}"


def _names(repository: str) -> Iterator[str]:
    folded = repository.casefold()
    yield folded
    yield folded.partition("/")[2]


def _absent(name: str, next_step: str) -> StoreError:
    return StoreError(f'"{shorten(name)}" is not in the store', next_step=next_step)


def _nearest(wanted: str, held: list[str]) -> str:
    if not held:
        return "The store is empty; `holdfast pull` fills it"
    folded = {name.casefold(): name for name in held}
    near = difflib.get_close_matches(wanted.casefold()[:100], folded, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(f'"{folded[name]}"' for name in near) + "?"
    return f"Held: {', '.join(held[:10])}" + (", ..." if len(held) > 10 else "")
