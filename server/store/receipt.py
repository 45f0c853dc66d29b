"""The receipt of a revision: where its files came from, and what each of them must be.

`holdfast.json` beside the files is for Holdfast, `SHA256SUMS` says the same of the bytes, and of
the receipt's own, to `sha256sum -c`. A receipt is written last: what it does not name is not there
for serving.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from server.catalogue.catalogue import shorten
from server.errors import StoreError
from server.store.durable import sweep, write_whole
from server.store.naming import RECEIPT, SUMS, checked, collisions
from server.units import MIB

_FORMAT = 1
_LARGEST = 64 * MIB  # bytes; two hundred thousand files
REPOSITORY = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Held:
    """A file that the store holds."""

    path: str
    """Relative to the repository's root, with forward slashes."""
    bytes: int
    sha256: str
    git_oid: str | None = None
    """The id of its git blob, of an LFS file that of its pointer; None: not the hub's file."""
    lfs: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    repository: str
    revision: str
    """40 hexadecimal digits."""
    source: str
    """Where the files came from: an address, or a folder that was adopted."""
    fetched: datetime.datetime
    """When the receipt was written; UTC, whole seconds."""
    files: tuple[Held, ...]
    """Sorted by path."""
    licence: str | None = None
    """As an SPDX identifier in lower case, where it is known."""

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def file(self, path: str) -> Held | None:
        return next((file for file in self.files if file.path == path), None)


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt in `folder`, None where there is none. Raises StoreError if it is malformed."""
    path = folder / RECEIPT
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read",
            why=error.strerror or str(error),
            next_step="Check its permissions, and the disk",
        ) from error
    try:
        return parse(data)
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged",
            why=str(error),
            next_step="Restore it from a copy (`holdfast mirror restore`), or pull the model again",
        ) from error


def parse(data: bytes) -> Receipt:
    """The receipt in a file's bytes. Raises ValueError with what is wrong."""
    if len(data) > _LARGEST:
        raise ValueError("it is too large")
    raw = orjson.loads(data)
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT:
        raise ValueError(f"it is not a receipt of format {_FORMAT}")
    rows = raw.get("files")
    if not isinstance(rows, list):
        raise ValueError("it lists no files")
    files = tuple(sorted((_held(row) for row in rows), key=lambda held: held.path))
    paths = [held.path for held in files]
    if len(set(paths)) < len(paths):
        raise ValueError("a path stands twice in it")
    if pairs := collisions(paths):
        raise ValueError(f"{shorten(pairs[0][0])} and {shorten(pairs[0][1])} collide")
    licence = raw.get("licence")
    return Receipt(
        repository=_matching(raw, "repository", REPOSITORY),
        revision=_matching(raw, "revision", REVISION),
        source=_text(raw, "source"),
        fetched=_time(_text(raw, "fetched")),
        files=files,
        licence=None if licence is None else _text(raw, "licence"),
    )


def encode(receipt: Receipt) -> bytes:
    """The receipt as `parse` reads it."""
    return orjson.dumps(
        {
            "format": _FORMAT,
            "repository": receipt.repository,
            "revision": receipt.revision,
            "source": receipt.source,
            "fetched": receipt.fetched.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "licence": receipt.licence,
            "files": sorted(receipt.files, key=lambda held: held.path),
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Writes `SHA256SUMS`, then the receipt, each at once and for good. Raises StoreError.

    The caller is the only one who writes in `folder`.
    """
    for held in receipt.files:
        checked(held.path)
    sweep(folder)
    write_whole(folder / SUMS, sums(receipt).encode())
    write_whole(folder / RECEIPT, encode(receipt))


def sums(receipt: Receipt) -> str:
    """The text of `SHA256SUMS`, as sha256sum writes it: each file's line, then the receipt's.

    So a signature of it covers where the files came from, and a receipt that rots is found.
    """
    digests = [(held.sha256, held.path) for held in sorted(receipt.files, key=lambda h: h.path)]
    digests.append((hashlib.sha256(encode(receipt)).hexdigest(), RECEIPT))
    return "".join(f"{digest}  {path}\n" for digest, path in digests)


def now() -> datetime.datetime:
    """The time for `Receipt.fetched`."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _held(row: object) -> Held:
    if not isinstance(row, dict):
        raise ValueError("a file in it is not described by a table")
    path, size, oid = _text(row, "path"), row.get("bytes"), row.get("git_oid")
    try:
        checked(path)
    except StoreError as error:
        raise ValueError(f"{error.what}: {error.why}") from error
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise ValueError(f"{shorten(path)} has no size")
    return Held(
        path=path,
        bytes=size,
        sha256=_matching(row, "sha256", _SHA256),
        git_oid=None if oid is None else _matching(row, "git_oid", REVISION),
        lfs=row.get("lfs") is True,
    )


def _matching(raw: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = _text(raw, key)
    if not pattern.fullmatch(value):
        raise ValueError(f"its {key} is {shorten(ascii(value))}")
    return value


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value or len(value) > 4096 or not value.isprintable():
        raise ValueError(f"its {key} is missing or no plain text")
    return value


def _time(text: str) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("its time has no zone")
    return time.astimezone(datetime.UTC)
