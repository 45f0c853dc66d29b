"""Rebuilding a store from one copy alone, receipts included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server.errors import HoldfastError, StoreError
from server.store.copies.copy import SIGNATURE, Copy, Inventory, folder_of
from server.store.copies.crew import each
from server.store.copies.place import OnBytes
from server.store.copies.staging import Standing, bring, has, names_of, publish_whole, standing
from server.store.receipt import Held, Receipt
from server.store.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Return:
    """A revision that comes back from a copy."""

    here: Standing
    lost: tuple[Held, ...]
    """Files that are needed, and that the copy has lost or has with a wrong size."""
    signature: bool = False
    """Whether the copy has a signature that the store lacks."""

    @property
    def receipt(self) -> Receipt:
        return self.here.receipt

    @property
    def wanted(self) -> tuple[Held, ...]:
        return tuple(held for held in self.here.absent if held not in self.lost)

    @property
    def bytes(self) -> int:
        return sum(held.bytes for held in self.wanted)

    @property
    def is_needed(self) -> bool:
        return bool(self.here.absent or self.here.staged or self.signature)


def plan(shelf: Shelf, there: Inventory, names: Sequence[str] = ()) -> tuple[Return, ...]:
    """What the store lacks of the copy's revisions, or of those that `names` mean.

    A name is `org/name`, `name`, or either with `@` and the first digits of a revision, in any
    case. Raises StoreError for one that the copy does not hold, or files that the store has
    otherwise.
    """
    receipts = list(there.receipts.values())
    for name in names:
        if not any(_means(name, receipt) for receipt in receipts):
            known = ", ".join(sorted({one.repository for one in receipts})[:10]) or "nothing"
            raise StoreError(
                f'"{name}" is not in the copy {there.address}', next_step=f"It holds {known}"
            )
    chosen = [one for one in receipts if not names or any(_means(name, one) for name in names)]
    return tuple(_return(shelf, there, receipt) for receipt in chosen)


def restore(
    shelf: Shelf,
    copy: Copy,
    comings: Sequence[Return],
    *,
    jobs: int,
    on_bytes: OnBytes,
    on_done: Callable[[Receipt, Held | None, HoldfastError | None], None],
) -> None:
    """Bring what is wanted, each revision visible only when it is whole. Writes: needs the lock.

    `on_done` is told of each file, and of each revision (with None for the file), with what went
    wrong. Raises HubError where the copy gets out of reach.
    """
    twins = shelf.by_sha256()
    for one in comings:
        if not one.is_needed:
            continue
        work = partial(_bring, shelf, copy, one.receipt, twins)
        each(
            one.wanted,
            work,
            jobs=jobs,
            on_bytes=on_bytes,
            on_done=partial(on_done, one.receipt),
        )
        try:
            signature = copy.place.read(f"{folder_of(one.receipt)}/{SIGNATURE}")
            if not publish_whole(shelf, one.receipt, signature):
                raise _incomplete(shelf, copy, one)
            on_done(one.receipt, None, None)
        except StoreError as error:
            on_done(one.receipt, None, error)


def _bring(
    shelf: Shelf,
    copy: Copy,
    receipt: Receipt,
    twins: Mapping[str, Path],
    held: Held,
    on_bytes: OnBytes,
) -> None:
    source = partial(copy.open, receipt.repository, receipt.revision, held.path)
    # A file without a receipt, or whose receipt was lost, may lie in its place all the same.
    own = shelf.folder(receipt.repository, receipt.revision) / held.path
    twin = twins.get(held.sha256) or (own if has(own, held) else None)
    bring(shelf, receipt, held, source, on_bytes, twin)


def _return(shelf: Shelf, there: Inventory, receipt: Receipt) -> Return:
    here, folder = standing(shelf, receipt), folder_of(receipt)
    own = shelf.folder(receipt.repository, receipt.revision) / SIGNATURE
    lost = tuple(held for held in here.absent if there.size(folder, held) != held.bytes)
    return Return(here, lost, f"{folder}/{SIGNATURE}" in there.sizes and not own.exists())


def _means(name: str, receipt: Receipt) -> bool:
    wanted, _, revision = name.casefold().partition("@")
    repository = receipt.repository.casefold()
    return wanted in (repository, repository.partition("/")[2]) and receipt.revision.startswith(
        revision
    )


def _incomplete(shelf: Shelf, copy: Copy, one: Return) -> StoreError:
    absent = standing(shelf, one.receipt).absent
    return StoreError(
        f"{one.receipt.repository}@{one.receipt.revision[:12]} cannot be restored whole",
        why=f"{names_of(absent)}: not whole in {copy.address}",
        next_step="Restore it from another copy as well: what came so far is kept and used",
    )
