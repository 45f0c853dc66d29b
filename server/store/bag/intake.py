"""Reading bags: what one holds, checked against its manifests before anything is taken from it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.errors import StoreError
from server.store.bag.tags import (
    DECLARATION,
    FETCH,
    INFO,
    MANIFEST,
    PAYLOAD,
    TAG_MANIFEST,
    malformed,
    parse_info,
    parse_manifest,
)
from server.store.copies.copy import SIGNATURE, folder_of
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Receipt, parse

_LARGEST_TAG = 64 * 1024 * 1024  # bytes
_VERSIONS = ("0.97", "1.0")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a bag holds of one revision."""

    receipt: Receipt
    """Of the whole revision, of which this bag may hold a part."""
    folder: Path
    paths: tuple[str, ...]
    """The receipt's files that are in this bag."""
    signature: bytes | None


def find_bags(directory: Path) -> tuple[Path, ...]:
    """`directory` itself if it is a bag, else the bags directly in it. Raises StoreError."""
    if (directory / DECLARATION).is_file():
        return (directory,)
    found = tuple(sorted(path.parent for path in directory.glob(f"*/{DECLARATION}")))
    if not found:
        raise StoreError(
            f"no bag is in {directory}",
            why=f"neither it nor a folder in it holds {DECLARATION}",
            next_step="Name the folder that `holdfast store export` wrote",
        )
    return found


def read_bag(root: Path) -> tuple[Delivery, ...]:
    """What the bag at `root` brings, its tag files and names checked but no file's bytes.

    Raises StoreError if it is incomplete, holds what its manifest does not name, refers to files
    elsewhere, or holds anything but models with their receipts.
    """
    _check_declaration(root)
    if (root / FETCH).exists():
        raise malformed(f"{root / FETCH}", "it refers to files elsewhere, which are not fetched")
    files = parse_manifest(_read(root / MANIFEST), str(root / MANIFEST))
    _check_tags(root)
    _check_payload(root, files)
    deliveries = tuple(
        _delivery(root, path, files) for path in sorted(files) if path.endswith(f"/{RECEIPT}")
    )
    claimed = {
        f"{PAYLOAD}/{folder_of(one.receipt)}/{path}"
        for one in deliveries
        for path in (*one.paths, RECEIPT, SUMS, SIGNATURE)
    }
    if strangers := sorted(files.keys() - claimed):
        raise malformed(str(root), f"no receipt in it names {strangers[0]}")
    return deliveries


def group_of(root: Path) -> str:
    """Which medium of which export the bag is, for messages; empty where it does not say."""
    if not (root / INFO).exists():
        return ""
    fields = dict(parse_info(_read(root / INFO), str(root / INFO)))
    name, count = fields.get("Bag-Group-Identifier", ""), fields.get("Bag-Count", "")
    return f"{count} of {name}" if name else ""


def _delivery(root: Path, path: str, files: Mapping[str, str]) -> Delivery:
    folder = path.removesuffix(f"/{RECEIPT}")
    try:
        receipt = parse(_own(root, path, files))
    except ValueError as error:
        raise malformed(str(root / path), str(error)) from error
    if folder != f"{PAYLOAD}/{folder_of(receipt)}":
        raise malformed(str(root / path), f"it is the receipt of {folder_of(receipt)}")
    there = [held for held in receipt.files if f"{folder}/{held.path}" in files]
    for held in there:
        if files[f"{folder}/{held.path}"] != held.sha256:
            raise malformed(str(root / path), f"it and the manifest disagree on {held.path}")
    signed = f"{folder}/{SIGNATURE}"
    signature = _own(root, signed, files) if signed in files else None
    return Delivery(receipt, root / folder, tuple(held.path for held in there), signature)


def _own(root: Path, path: str, files: Mapping[str, str]) -> bytes:
    """A small file of the payload, by its manifest."""
    data = _read(root / path)
    if hashlib.sha256(data).hexdigest() != files[path]:
        raise malformed(str(root / path), "its sha256 is not the manifest's")
    return data


def _check_declaration(root: Path) -> None:
    name = str(root / DECLARATION)
    fields = dict(parse_info(_read(root / DECLARATION), name))
    if fields.get("BagIt-Version") not in _VERSIONS:
        raise malformed(name, f"only the versions {' and '.join(_VERSIONS)} are known")
    if fields.get("Tag-File-Character-Encoding", "").upper() != "UTF-8":
        raise malformed(name, "its tag files are not in UTF-8")


def _check_tags(root: Path) -> None:
    if not (root / TAG_MANIFEST).exists():
        return
    for path, sha256 in parse_manifest(
        _read(root / TAG_MANIFEST), str(root / TAG_MANIFEST)
    ).items():
        if hashlib.sha256(_read(root / path)).hexdigest() != sha256:
            raise malformed(str(root / path), f"its sha256 is not the one in {TAG_MANIFEST}")


def _check_payload(root: Path, files: Mapping[str, str]) -> None:
    present = set()
    if (root / PAYLOAD).is_symlink():
        raise malformed(str(root), f"{PAYLOAD} is no ordinary folder")
    for parent, folders, names in os.walk(root / PAYLOAD):
        for name in (*names, *folders):
            status = os.lstat(Path(parent) / name)
            path = (Path(parent) / name).relative_to(root).as_posix()
            if stat.S_ISREG(status.st_mode):
                present.add(path)
            elif not stat.S_ISDIR(status.st_mode):
                raise malformed(str(root), f"{path} is no ordinary file")
    if missing := sorted(files.keys() - present):
        raise malformed(str(root), f"{missing[0]} is missing, of {len(missing)} in all")
    if extra := sorted(present - files.keys()):
        raise malformed(str(root), f"{extra[0]} is not in the manifest")


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            data = file.read(_LARGEST_TAG + 1)
    except OSError as error:
        raise malformed(str(path), error.strerror or str(error)) from error
    if len(data) > _LARGEST_TAG:
        raise malformed(str(path), "it is too large")
    return data
