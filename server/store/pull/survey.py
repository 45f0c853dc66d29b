"""What is there, here and at the hubs, before a pull is planned. Reads only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from server.errors import HubError
from server.store.pull.order import Order
from server.store.pull.plan import Plan, plan, plan_unasked
from server.store.pull.sources import Sources
from server.store.receipt import Receipt
from server.store.shelf import Shelf

_COMMIT = re.compile(r"[0-9a-f]{40}")


def survey(order: Order, sources: Sources, shelf: Shelf, elsewhere: Mapping[str, Path]) -> Plan:
    """The plan for one order, after asking a hub. Raises HubError and StoreError.

    `elsewhere`: the content that the store holds, by sha256 (`Shelf.by_sha256`).
    """
    told = sources.listing(order, wanted_revision(order, shelf))
    order = replace(order, repository=told.listing.repository)
    folder = shelf.folder(order.repository, told.listing.revision)
    return plan(
        order,
        told.listing,
        folder,
        _receipt(shelf, order.repository, told.listing.revision),
        elsewhere,
        source=told.source,
        present=dict(_sizes(folder)),
    )


def survey_unasked(order: Order, shelf: Shelf, silence: HubError) -> Plan:
    """The plan as far as the catalogue and the store can tell, where no hub answers."""
    revision = wanted_revision(order, shelf)
    if revision is None or not _COMMIT.fullmatch(revision):
        return plan_unasked(order, None, None, None, silence.what)
    folder = shelf.folder(order.repository, revision)
    receipt = _receipt(shelf, order.repository, revision)
    return plan_unasked(order, revision, folder, receipt, silence.what)


def wanted_revision(order: Order, shelf: Shelf) -> str | None:
    """The revision asked for; else the newest that is held; else one that a pull has begun.

    None: the hub must be asked what `main` is. Once it was, what is held says it for good.
    """
    if order.revision is not None:
        return order.revision
    held = [
        (volume.receipt.fetched, volume.revision)
        for volume in shelf.volumes()
        if volume.receipt is not None
        and volume.repository.casefold() == order.repository.casefold()
    ]
    if held:
        return max(held)[1]
    begun = shelf.incoming(order.repository, "0" * 40).parent
    revisions = sorted(_revisions(begun), key=lambda folder: folder.stat().st_mtime)
    return revisions[-1].name if revisions else None


def staged_bytes(incoming: Path) -> int:
    """Bytes of the disk that an unfinished pull takes already."""
    return sum(path.stat().st_blocks * 512 for path in _files(incoming))


def _receipt(shelf: Shelf, repository: str, revision: str) -> Receipt | None:
    volume = shelf.volume(repository, revision)
    return volume.receipt if volume else None


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in _files(folder):
        yield path.relative_to(folder).as_posix(), path.stat().st_size


def _files(folder: Path) -> Iterator[Path]:
    """Ordinary files below `folder`, wherever; links are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _revisions(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for entry in folder.iterdir():
            if _COMMIT.fullmatch(entry.name) and entry.is_dir():
                yield entry
