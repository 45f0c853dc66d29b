"""A copy of the store: a place with receipts in it, which alone is enough to restore everything.

It has the layout of `<home>/models`, and beside that one file of its own, which says that the place
is meant to be one (an empty mount point is not) and when each revision in it was last read back.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import orjson

from server.errors import StoreError
from server.store.copies.bucket import Bucket
from server.store.copies.delivery import digest
from server.store.copies.folder import Folder
from server.store.copies.place import OnBytes, Place
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Held, Receipt, encode, now, parse, sums

MARKER = "holdfast-copy.json"
SIGNATURE = f"{SUMS}.sig"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Marker:
    created: datetime.datetime
    verified: Mapping[str, datetime.datetime] = field(default_factory=dict)
    """Revision, as `org/name@revision` -> when the last of its files to be read back was."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a copy held when it was looked at."""

    address: str
    receipts: Mapping[str, Receipt]
    """By `org/name@revision`."""
    sizes: Mapping[str, int]
    """Bytes of every file, by its path from the copy's root."""
    verified: Mapping[str, datetime.datetime] = field(default_factory=dict)
    """When all files of a revision had been read back, where that is known."""
    damaged: tuple[str, ...] = ()
    """Receipts that cannot be read, by their path."""

    def size(self, folder: str, held: Held) -> int | None:
        return self.sizes.get(f"{folder}/{held.path}")


def folder_of(receipt: Receipt) -> str:
    """`org/name/revision`, where its files lie below the root of a store or copy."""
    return f"{receipt.repository}/{receipt.revision}"


def key_of(receipt: Receipt) -> str:
    return f"{receipt.repository}@{receipt.revision}"


class Copy:
    """One copy. Every method raises HubError where the place cannot be reached."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    def address(self) -> str:
        return self.place.address

    def initialize(self) -> bool:
        """Mark the place as a copy; False if it is one already."""
        self.place.reach()
        if self.place.read(MARKER) is not None:
            return False
        self._mark(Marker(now()))
        return True

    def marker(self) -> Marker:
        """Raises StoreError where the place was not made a copy, or its marker is damaged."""
        self.place.reach()
        data = self.place.read(MARKER)
        if data is None:
            is_folder = isinstance(self.place, Folder)
            raise StoreError(
                f"{self.address} is no copy yet",
                why=f"it holds no {MARKER}"
                + (", and neither does a mount point without its disk" if is_folder else ""),
                next_step="If this is the right place: holdfast mirror sync --init",
            )
        try:
            return _parse_marker(data)
        except ValueError as error:
            raise StoreError(
                f"{self.address}/{MARKER} is damaged",
                why=str(error),
                next_step="Remove it, then run: holdfast mirror sync --init --verify",
            ) from error

    def inventory(self) -> Inventory:
        """Everything that it holds, by its receipts and its listing; no file is read."""
        marker = self.marker()
        return replace(inventory(self.place), verified=marker.verified)

    def receipts(self) -> tuple[Receipt, ...]:
        """Of every revision it holds. Raises StoreError where the place is no copy."""
        return tuple(self.inventory().receipts.values())

    def open(self, repository: str, revision: str, path: str, offset: int = 0) -> io.RawIOBase:
        """One of its files for reading. Nothing is checked: hash what comes out of it."""
        return self.place.open(f"{repository}/{revision}/{path}", offset)

    def read_back(self, receipt: Receipt, held: Held, on_bytes: OnBytes) -> str:
        """The sha256 of a file as the copy gives it."""
        return digest(self.open(receipt.repository, receipt.revision, held.path), on_bytes)

    def send(self, receipt: Receipt, held: Held, source: Path, on_bytes: OnBytes) -> None:
        """Put a file of the store there. Raises StoreError where `source` is damaged."""
        try:
            size = source.stat().st_size
        except OSError as error:
            raise _damaged(source, error.strerror or str(error)) from error
        if size != held.bytes:
            raise _damaged(source, f"it has {size} bytes, and should have {held.bytes}")
        path = f"{folder_of(receipt)}/{held.path}"
        self.place.put(path, source, held.bytes, held.sha256, on_bytes)

    def seal(self, receipt: Receipt, signature: bytes | None = None) -> None:
        """Write the receipt of a revision whose files are all there, and what belongs to it."""
        folder = folder_of(receipt)
        if signature is None:
            self.place.remove(f"{folder}/{SIGNATURE}")  # it was of other sums
        self.place.write(f"{folder}/{SUMS}", sums(receipt).encode())
        if signature is not None:
            self.place.write(f"{folder}/{SIGNATURE}", signature)
        self.place.write(f"{folder}/{RECEIPT}", encode(receipt))

    def note_verified(self, receipts: Iterable[Receipt], when: datetime.datetime) -> None:
        """Remember that all files of these revisions were read back at `when` or later."""
        marker = self.marker()
        verified = {**marker.verified, **{key_of(receipt): when for receipt in receipts}}
        self._mark(replace(marker, verified=verified))

    def _mark(self, marker: Marker) -> None:
        verified = {key: when.isoformat() for key, when in sorted(marker.verified.items())}
        raw = {"format": _FORMAT, "created": marker.created.isoformat(), "verified": verified}
        text = orjson.dumps(raw, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        self.place.write(MARKER, text)


def inventory(place: Place) -> Inventory:
    """What lies at a place of the store's layout, the store itself too."""
    sizes = place.find()
    receipts: dict[str, Receipt] = {}
    damaged = []
    for path in sorted(sizes):
        folder, _, name = path.rpartition("/")
        if name != RECEIPT or folder.count("/") != 2:
            continue
        receipt = _receipt(place, path)
        if receipt is None or folder_of(receipt) != folder:
            damaged.append(path)
        else:
            receipts[key_of(receipt)] = receipt
    in_order = sorted(receipts.items(), key=lambda item: item[0].split("@"))
    return Inventory(place.address, dict(in_order), sizes, damaged=tuple(damaged))


def open_copy(address: str) -> Copy:
    """The copy at a folder or `s3://bucket/prefix`. Raises ConfigError where s3fs is missing."""
    if address.startswith("s3://"):
        return Copy(Bucket(address))
    return Copy(Folder(Path(address).expanduser()))


def _receipt(place: Place, path: str) -> Receipt | None:
    try:
        data = place.read(path)
        return None if data is None else parse(data)
    except ValueError:
        return None


def _parse_marker(data: bytes) -> Marker:
    raw = orjson.loads(data)
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT:
        raise ValueError(f"it is not of format {_FORMAT}")
    verified = raw.get("verified", {})
    if not isinstance(verified, dict):
        raise ValueError("it does not say when revisions were read back")
    times = {key: _time(text) for key, text in verified.items()}
    return Marker(_time(raw.get("created")), MappingProxyType(times))


def _time(text: object) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(text) if isinstance(text, str) else None
    if time is None or time.tzinfo is None:
        raise ValueError("a time in it is missing or has no zone")
    return time.astimezone(datetime.UTC)


def _damaged(source: Path, why: str) -> StoreError:
    return StoreError(
        f"{source} is damaged",
        why=why,
        next_step="Repair it with `holdfast verify --repair`, then run the same command again",
    )
