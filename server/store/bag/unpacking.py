"""From a bag into the store: every byte read and compared, then published as a pull would."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from server.errors import HoldfastError
from server.store.bag.intake import Delivery
from server.store.copies.crew import each
from server.store.copies.delivery import open_at
from server.store.copies.place import OnBytes
from server.store.copies.staging import Standing, bring, publish_whole, standing
from server.store.receipt import Held
from server.store.shelf import Shelf


def wanted(here: Standing, delivery: Delivery) -> tuple[Held, ...]:
    """What the bag brings that is not here yet."""
    return tuple(held for held in here.absent if held.path in delivery.paths)


def unpack(
    shelf: Shelf,
    delivery: Delivery,
    *,
    jobs: int,
    on_bytes: OnBytes,
    on_done: Callable[[Held, HoldfastError | None], None],
) -> tuple[Held, ...]:
    """Take what is wanted, and publish the revision if it is whole now. Writes: needs the lock.

    Returns the files that are still to come, from other bags: what came so far waits for them.
    Files are linked to the bag's where the file system can, and read all the same.
    """
    receipt = delivery.receipt

    def work(held: Held, on_bytes: OnBytes) -> None:
        path = delivery.folder / held.path
        bring(shelf, receipt, held, partial(open_at, path), on_bytes, path)

    files = wanted(standing(shelf, receipt), delivery)
    each(files, work, jobs=jobs, on_bytes=on_bytes, on_done=on_done)
    if publish_whole(shelf, receipt, delivery.signature):
        return ()
    return standing(shelf, receipt).absent
