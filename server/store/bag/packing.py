"""Which files go into which bag, so that each bag fits on its medium. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from server.errors import StoreError
from server.store.bag.tags import PAYLOAD, manifest_line
from server.store.copies.copy import folder_of
from server.store.copies.sync import Original
from server.store.receipt import Held, encode, sums
from server.units import format_bytes

_BLOCK = 4096
"""Bytes in which file systems keep files and folders."""
_EMPTY = 8 * _BLOCK
"""Of a bag's own four tag files and three folders, with the manifest's last block."""
_IDENTIFIER = 256
"""Bytes of a revision's lines in bag-info.txt, at most."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that goes into a bag."""

    original: Original
    held: Held
    shared: int
    """Bytes of what a bag holds for the revision besides its files."""

    @property
    def path(self) -> str:
        """From the bag's root."""
        return f"{PAYLOAD}/{folder_of(self.original.receipt)}/{self.held.path}"


@dataclass(slots=True)
class _Bag:
    items: list[Item] = field(default_factory=list)
    revisions: set[str] = field(default_factory=set)
    bytes: int = _EMPTY

    def with_item(self, item: Item) -> int:
        """Bytes of the bag's medium if `item` came into it."""
        is_known = folder_of(item.original.receipt) in self.revisions
        return self.bytes + (0 if is_known else item.shared) + _item_bytes(item)

    def add(self, item: Item) -> None:
        self.bytes = self.with_item(item)
        self.items.append(item)
        self.revisions.add(folder_of(item.original.receipt))


def pack(originals: Iterable[Original], media_size: int | None) -> tuple[tuple[Item, ...], ...]:
    """The bags' files, each bag sorted by path: first fit, the largest files first.

    Where `media_size` (bytes) is None, all go into one. A bag's tag files, receipts, folders and
    the file system's blocks are counted. Raises StoreError if a file is too large for any medium.
    """
    items = [
        Item(one, held, shared)
        for one in originals
        for shared in [_revision_bytes(one)]
        for held in one.receipt.files
    ]
    items.sort(key=lambda item: (-item.held.bytes, item.path))
    least = max((_Bag().with_item(item) for item in items), default=0)
    if media_size is not None and least > media_size:
        item = next(one for one in items if _Bag().with_item(one) == least)
        raise StoreError(
            f"{item.held.path} of {item.original.receipt.repository} fits on no such medium",
            why=f"{format_bytes(least)} are needed, the media have {format_bytes(media_size)}",
            next_step=f"Use media of {least} bytes or more, or leave this model out",
        )
    bags: list[_Bag] = []
    for item in items:
        fitting = (bag for bag in bags if media_size is None or bag.with_item(item) <= media_size)
        bag = next(fitting, None)
        if bag is None:
            bag = _Bag()
            bags.append(bag)
        bag.add(item)
    return tuple(tuple(sorted(bag.items, key=lambda item: item.path)) for bag in bags)


def revisions(items: Sequence[Item]) -> tuple[Original, ...]:
    """The revisions of which a bag holds something, in order."""
    return tuple({folder_of(item.original.receipt): item.original for item in items}.values())


def _item_bytes(item: Item) -> int:
    folders = item.held.path.count("/") * _BLOCK
    return _blocks(item.held.bytes) + folders + len(manifest_line(item.path, "0" * 64).encode())


def _revision_bytes(original: Original) -> int:
    """What each bag needs that holds something of a revision: receipt, sums, signature, folders."""
    receipt = original.receipt
    own = [len(encode(receipt)), len(sums(receipt).encode()), len(original.signature or b"")]
    lines = len(own) * (len(PAYLOAD) + len(folder_of(receipt)) + 128)
    return sum(map(_blocks, own)) + lines + 3 * _BLOCK + _IDENTIFIER


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
