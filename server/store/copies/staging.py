"""Files from a copy or a bag on their way into the store: brought, read back, then published.

What is staged under its own name was read back there, so that a run that was killed, or the next
medium of an export, goes on from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import StoreError
from server.store.copies.copy import SIGNATURE
from server.store.copies.delivery import (
    Source,
    deliver,
    digest,
    make_folder,
    open_at,
    settle,
    unwritable,
    write_whole,
)
from server.store.copies.place import OnBytes
from server.store.links import link_or_copy
from server.store.receipt import Held, Receipt
from server.store.removal import drop_empty
from server.store.shelf import Arrival, Shelf
from server.units import format_bytes

_PARTS = ".parts"


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a revision is here already."""

    receipt: Receipt
    """What it is when it is whole."""
    held: tuple[Held, ...]
    """Published."""
    staged: tuple[Held, ...]
    """Brought by an earlier run, but not published."""
    absent: tuple[Held, ...]


def standing(shelf: Shelf, receipt: Receipt) -> Standing:
    """By names and sizes. Raises StoreError if the store holds other files under these names."""
    volume = shelf.volume(receipt.repository, receipt.revision)
    own = {held.path: held for held in (volume.receipt.files if volume and volume.receipt else ())}
    folder = shelf.folder(receipt.repository, receipt.revision)
    incoming = shelf.incoming(receipt.repository, receipt.revision)
    sorted_out: dict[str, list[Held]] = {"held": [], "staged": [], "absent": []}
    for held in receipt.files:
        known = own.get(held.path)
        if known is not None and known.sha256 != held.sha256:
            raise StoreError(
                f"the store has another {held.path} of {receipt.repository}@{receipt.revision}",
                why=f"its sha256 is {known.sha256}, and that of what comes is {held.sha256}",
                next_step="Find out which is right; `holdfast store rm` removes the store's",
            )
        if known is not None and has(folder / held.path, held):
            sorted_out["held"].append(held)
        elif has(incoming / held.path, held):
            sorted_out["staged"].append(held)
        else:
            sorted_out["absent"].append(held)
    return Standing(receipt, **{name: tuple(files) for name, files in sorted_out.items()})


def require_space(shelf: Shelf, needed: int, reserve: int) -> None:
    """Raises StoreError unless `needed` bytes fit and leave `reserve` free."""
    place = next(one for one in (shelf.root, *shelf.root.parents) if one.exists())
    free = shutil.disk_usage(place).free
    if needed and needed + reserve > free:
        raise StoreError(
            f"the disk of {shelf.root} has too little space",
            why=f"{format_bytes(needed)} are needed and {format_bytes(reserve)} stay in reserve, "
            f"{format_bytes(free)} are free",
            next_step="Free some, name fewer models, or lower [store] reserve",
        )


def bring(
    shelf: Shelf,
    receipt: Receipt,
    held: Held,
    source: Source,
    on_bytes: OnBytes,
    twin: Path | None = None,
) -> None:
    """Stage one file, read back from the disk; linked to `twin` where there is one of its bytes.

    Raises StoreError if the bytes are not those of `held`.
    """
    incoming = shelf.incoming(receipt.repository, receipt.revision)
    # Apart from what is staged: a repository may have a file called like another's part.
    part = incoming / _PARTS / f"{held.path}.part"
    link = incoming / _PARTS / f"{held.path}.link"
    if twin is not None and _linked(twin, link, held, on_bytes):
        settle(link, incoming / held.path)
    else:
        deliver(source, part, held.bytes, held.sha256, on_bytes)
        settle(part, incoming / held.path)


def publish_whole(shelf: Shelf, receipt: Receipt, signature: bytes | None) -> bool:
    """Publish a revision of which everything is here; False, and nothing done, if it is not.

    A revision that is new here gets the very receipt that it had, with its source and time, and
    with that its signature.
    """
    here = standing(shelf, receipt)
    if here.absent:
        return False
    incoming = shelf.incoming(receipt.repository, receipt.revision)
    shutil.rmtree(incoming / _PARTS, ignore_errors=True)
    if here.staged:
        shelf.publish(
            receipt.repository,
            receipt.revision,
            [Arrival(held, incoming / held.path) for held in here.staged],
            source=receipt.source,
            licence=receipt.licence,
            fetched=receipt.fetched,
        )
    volume = shelf.volume(receipt.repository, receipt.revision)
    if signature is not None and volume is not None and volume.receipt == receipt:
        write_whole(incoming / _PARTS / SIGNATURE, volume.folder / SIGNATURE, signature)
        drop_empty(incoming / _PARTS, 5)
    return True


def has(path: Path, held: Held) -> bool:
    """Whether an ordinary file of the right size lies at `path`."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size == held.bytes


def names_of(files: Sequence[Held]) -> str:
    """The first few paths of `files`, for a message."""
    shown = ", ".join(held.path for held in files[:3])
    return shown + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _linked(twin: Path, link: Path, held: Held, on_bytes: OnBytes) -> bool:
    try:
        make_folder(link.parent)
        link.unlink(missing_ok=True)
        if link_or_copy(twin, link, allow_copy=False) is None:
            return False
        if digest(open_at(link, 0)) != held.sha256:
            link.unlink()
            return False
    except OSError as error:
        raise unwritable(link, error, held.bytes) from error
    on_bytes(2 * held.bytes)
    return True
