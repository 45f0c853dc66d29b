"""Revisions for tests, published as a pull does it."""

from __future__ import annotations

from collections.abc import Mapping

from server.store.digest import blob_oid, sha256_of
from server.store.receipt import Held
from server.store.shelf import Arrival, Shelf, Volume

REPOSITORY = "Qwen/Qwen3.5-9B"
REVISION = "c202236235762e1c871ad0ccb60c8ee5ba337b9a"
OTHER = "f" * 40
FILES = {"config.json": b"{}", "sub/notes.txt": b"hello", "README.md": b"# card"}


def stage(
    shelf: Shelf,
    files: Mapping[str, bytes] = FILES,
    repository: str = REPOSITORY,
    revision: str = REVISION,
) -> list[Arrival]:
    """Files that have been fetched and not yet published."""
    arrivals = []
    for path, content in files.items():
        staged = shelf.incoming(repository, revision) / f"{path}.part"
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(content)
        held = Held(path, len(content), sha256_of(staged), blob_oid(content))
        arrivals.append(Arrival(held, staged))
    return arrivals


def published(
    shelf: Shelf,
    files: Mapping[str, bytes] = FILES,
    repository: str = REPOSITORY,
    revision: str = REVISION,
    licence: str | None = None,
) -> Volume:
    arrivals = stage(shelf, files, repository, revision)
    shelf.publish(repository, revision, arrivals, source="a test", licence=licence)
    volume = shelf.volume(repository, revision)
    assert volume is not None
    return volume
