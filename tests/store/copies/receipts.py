"""Receipts for tests, of files whose content is their own name."""

from __future__ import annotations

import datetime
import hashlib

from server.store.copies.copy import Inventory, folder_of, key_of
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Held, Receipt, encode, sums

WHEN = datetime.datetime(2026, 11, 21, 4, 0, tzinfo=datetime.UTC)
REVISION = "0123456789abcdef0123456789abcdef01234567"


def held(path: str, size: int = 100, content: str | None = None) -> Held:
    digest = hashlib.sha256((content or path).encode()).hexdigest()
    return Held(path, size, digest)


def receipt(*files: Held, repository: str = "org/name", revision: str = REVISION) -> Receipt:
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return Receipt(repository, revision, "https://huggingface.co", WHEN, ordered, "apache-2.0")


def inventory(*receipts: Receipt, address: str = "/copy", **sizes: int) -> Inventory:
    """A place that holds all of `receipts`, but for files (by name) of another size; -1: absent."""
    found: dict[str, int] = {}
    for one in receipts:
        folder = folder_of(one)
        found[f"{folder}/{RECEIPT}"] = len(encode(one))
        found[f"{folder}/{SUMS}"] = len(sums(one))
        found |= {f"{folder}/{file.path}": sizes.get(file.path, file.bytes) for file in one.files}
    there = {path: size for path, size in found.items() if size >= 0}
    return Inventory(address, {key_of(one): one for one in receipts}, there)
