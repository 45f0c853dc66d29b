"""Whether the hub, the catalogue and what is held tell the same of a revision. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from server.errors import StoreError
from server.store import naming
from server.store.listing import Listing, Remote
from server.store.pull.order import Order, is_weights
from server.store.receipt import Held, Receipt


def require_agreement(order: Order, listing: Listing, receipt: Receipt | None) -> None:
    """Raises StoreError where `listing` contradicts the catalogue (`Order.known`) or what is held.

    The catalogue is believed before the hub, and what is held before both.
    """
    told = {file.path: file for file in listing.files}
    wrong = []
    for file in order.known:
        there = told.get(file.path)
        if there is None:
            # What a whole family has beside its weights, one of its sizes may do without.
            wrong += [f"{file.path} is not there"] if is_weights(file.path) else []
        elif file.bytes is not None and there.bytes != file.bytes:
            wrong.append(f"{file.path} has {there.bytes} bytes there, and {file.bytes} here")
        elif file.sha256 and there.sha256 and there.sha256 != file.sha256:
            wrong.append(f"{file.path} is {there.sha256} there, and {file.sha256} here")
    for held in receipt.files if receipt else ():
        there = told.get(held.path)
        if there is not None and not is_same(held, there, there.sha256):
            wrong.append(f"{held.path} is not what is held of this revision")
    if wrong:
        raise _disagreement(order, listing, wrong, is_held=receipt is not None)


def _disagreement(order: Order, listing: Listing, wrong: list[str], *, is_held: bool) -> StoreError:
    told = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
    repository, commit = listing.repository, listing.revision
    if order.revision is None and not is_held:
        return StoreError(
            f"{repository} was replaced upstream since the catalogue was written",
            why=told,
            next_step="To take what is there now, name its revision: "
            f"holdfast pull {repository}@{commit}",
        )
    return StoreError(
        f"{repository} was changed upstream under the same revision {commit[:12]}",
        why=told,
        next_step="Nothing was fetched. Restore it from a copy; or, if it is the catalogue that "
        "is wrong, correct the entry with an overlay (--config)",
    )


def require_room_for_names(
    repository: str, taken: Iterable[Remote], receipt: Receipt | None
) -> None:
    """Raises StoreError if the files' names cannot lie beside each other and those held."""
    held = (file.path for file in receipt.files) if receipt else ()
    pairs = naming.collisions(itertools.chain((file.path for file in taken), held))
    if pairs:
        first, second = pairs[0]
        raise StoreError(
            f"{repository} is refused",
            why=f"{first} and {second} cannot lie in one folder everywhere",
            next_step="No file system that folds case holds both; tell who published it",
        )


def is_same(held: Held, file: Remote, sha256: str | None) -> bool:
    """Whether a file that is held is the one at the hub: by `sha256`, else by the git id."""
    if held.bytes != file.bytes:
        return False
    if sha256 is not None:
        return held.sha256 == sha256
    return held.git_oid is None or held.git_oid == file.git_oid
