"""A store with a repository in two revisions, as a pull leaves it."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.store.digest import blob_oid, lfs_pointer_oid
from server.store.receipt import Held, write_receipt
from server.store.shelf import Arrival, Shelf

OLD, NEW = "0123" + "a" * 36, "fedc" + "b" * 36
CONTENTS: Mapping[str, bytes] = {
    "config.json": b"{}",
    "empty.txt": b"",
    "a b+c%d?e#f/\N{SNOWMAN}.txt": b"odd name",
    "UD/large.txt": bytes(range(256)) * 4096,
}
LFS = ("UD/large.txt",)


@dataclass(frozen=True, slots=True)
class Stocked:
    models: Path
    """The root of the shelf."""
    contents: Mapping[str, bytes]
    """Of the newer revision; the older one has config.json alone."""

    def put(
        self,
        contents: Mapping[str, bytes],
        repository: str = "Org/Name",
        revision: str = NEW,
        day: int = 2,
    ) -> Path:
        """Publish a revision, fetched on that day of November."""
        shelf = Shelf(self.models)
        arrivals = []
        for path, content in contents.items():
            staged = shelf.incoming(repository, revision) / f"{path}.part"
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(content)
            sha256, lfs = hashlib.sha256(content).hexdigest(), path in LFS
            oid = lfs_pointer_oid(sha256, len(content)) if lfs else blob_oid(content)
            arrivals.append(Arrival(Held(path, len(content), sha256, oid, lfs), staged))
        receipt = shelf.publish(repository, revision, arrivals, source="test", licence="mit")
        fetched = datetime.datetime(2026, 11, day, tzinfo=datetime.UTC)
        folder = shelf.folder(repository, revision)
        write_receipt(folder, dataclasses.replace(receipt, fetched=fetched))
        return folder


@pytest.fixture
def stocked(tmp_path: Path) -> Stocked:
    store = Stocked(tmp_path / "home" / "models", CONTENTS)
    store.put({"config.json": b'{"old": true}'}, revision=OLD, day=1)
    store.put(CONTENTS)
    return store
