"""What a pull would do, file by file, before it does anything. Pure.

The catalogue is believed before the hub: where the two tell different sizes or digests of a pinned
revision, what lies at the hub is not what was published, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from server.errors import StoreError
from server.store import naming
from server.store.listing import Listing, Remote
from server.store.pull.agreement import is_same, require_agreement, require_room_for_names
from server.store.pull.order import Order, is_weights
from server.store.receipt import Receipt
from server.units import format_bytes

Action = Literal["fetch", "link", "keep"]


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the revision, and what is to be done about it."""

    path: str
    bytes: int | None
    """None: not known, which is so only without the hub."""
    sha256: str | None
    git_oid: str | None
    action: Action
    lfs: bool = False
    """Whether the hub keeps it in LFS: its git id is then that of a pointer."""
    source: Path | None = None
    """Of a link: where the same content lies already."""


@dataclass(frozen=True, slots=True)
class Refused:
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    order: Order
    revision: str | None
    """None: only the hub can tell, and it was not asked."""
    folder: Path | None
    items: tuple[Item, ...]
    refused: tuple[Refused, ...] = ()
    licence: str | None = None
    source: str | None = None
    """The hub that told of the files; None: only the catalogue did."""
    silent: str | None = None
    """Why no hub told of them."""

    def of(self, action: Action) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.action == action)

    @property
    def weights_bytes(self) -> int:
        """Of the weight files; the catalogue may know their sum and not each of them."""
        each = _known_bytes(item for item in self.items if is_weights(item.path))
        return each if self.source is not None else max(each, self.order.weights_bytes or 0)

    @property
    def bytes(self) -> int:
        """Of the whole revision, as far as it is wanted and known."""
        small = (item for item in self.items if not is_weights(item.path))
        return self.weights_bytes + _known_bytes(small)

    @property
    def bytes_to_fetch(self) -> int:
        return self.bytes - _known_bytes((*self.of("keep"), *self.of("link")))

    @property
    def unknown(self) -> tuple[str, ...]:
        """What the hub would have to be asked for, in words."""
        if self.source is not None:
            return ()
        facts = {
            "revision": self.revision is None,
            "files": not self.items,
            "file sizes": any(item.bytes is None for item in self.items),
            "sha256": any(item.sha256 is None for item in self.items if is_weights(item.path)),
        }
        return tuple(fact for fact, is_unknown in facts.items() if is_unknown)


def plan(
    order: Order,
    listing: Listing,
    folder: Path,
    receipt: Receipt | None,
    elsewhere: Mapping[str, Path],
    *,
    source: str,
    present: Mapping[str, int],
) -> Plan:
    """What to do for `order` about the files that `listing` tells of.

    `receipt` is that of the revision if part of it is held, `present` the sizes of the files in its
    folder by path, `elsewhere` the content held by sha256.

    Raises StoreError where the hub and the catalogue disagree, a wanted file is not there, or names
    collide.
    """
    require_agreement(order, listing, receipt)
    wanted = [file for file in listing.files if order.wants(file.path)]
    refused = [
        Refused(file.path, why)
        for file in wanted
        if (why := naming.refusal(file.path)) is not None and not _is_hidden(file.path)
    ]
    taken = [file for file in wanted if naming.refusal(file.path) is None]
    require_room_for_names(listing.repository, taken, receipt)
    digests = {file.path: file.sha256 for file in order.known}
    items = [
        _item(file, file.sha256 or digests.get(file.path), folder, receipt, elsewhere, present)
        for file in taken
    ]
    if not any(is_weights(item.path) for item in items):
        raise StoreError(
            f"{listing.repository} has no weights of the kind asked for",
            why=f"{len(listing.files)} files are there, none of them a wanted .safetensors or "
            ".gguf" + (f", and {len(refused)} are refused" if refused else ""),
            next_step=f"Its files are listed by the hub under {listing.revision[:12]}",
        )
    return Plan(
        order,
        listing.revision,
        folder,
        tuple(items),
        tuple(refused),
        order.licence or listing.licence,
        source,
    )


def plan_unasked(
    order: Order, revision: str | None, folder: Path | None, receipt: Receipt | None, why: str
) -> Plan:
    """What the catalogue alone tells of a pull, for when no hub can be asked."""
    held = {file.path: file for file in receipt.files} if receipt else {}
    items = []
    for file in sorted(order.known, key=lambda file: file.path):
        here = held.get(file.path)
        if here is not None and file.sha256 in (None, here.sha256):
            items.append(Item(file.path, here.bytes, here.sha256, here.git_oid, "keep", here.lfs))
        else:
            items.append(Item(file.path, file.bytes, file.sha256, None, "fetch"))
    return Plan(order, revision, folder, tuple(items), licence=order.licence, silent=why)


def require_disk(needed: int, free: int, reserve: int, folder: Path) -> None:
    """Raises StoreError unless `needed` bytes leave `reserve` of `free` bytes untouched."""
    if needed > 0 and needed + reserve > free:
        raise StoreError(
            f"{folder} has too little free space",
            why=f"{format_bytes(needed)} are to come and {format_bytes(reserve)} stay free "
            f"(store.reserve), but {format_bytes(max(0, free))} are free",
            next_step=f"Free {format_bytes(needed + reserve - free)}, pull less, or use another "
            "--home",
        )


def _item(
    file: Remote,
    sha256: str | None,
    folder: Path,
    receipt: Receipt | None,
    elsewhere: Mapping[str, Path],
    present: Mapping[str, int],
) -> Item:
    held = receipt.file(file.path) if receipt else None
    is_here = present.get(file.path) == file.bytes
    # ModelScope tells the sha256 of every file, and no git id.
    lfs = is_weights(file.path) if file.git_oid is None else file.sha256 is not None
    found = Item(file.path, file.bytes, sha256, file.git_oid, "fetch", lfs)
    if held is not None and is_here and is_same(held, file, sha256):
        return replace(found, action="keep", sha256=held.sha256)
    source = elsewhere.get(sha256) if sha256 else None
    if source is None and held is None and is_here:
        # Put there by hand: as good as any other place, once its content is checked.
        source = folder / file.path
    return found if source is None else replace(found, action="link", source=source)


def _is_hidden(path: str) -> bool:
    """Of the hub's own bookkeeping, such as .gitattributes: nobody misses it."""
    return any(part.startswith(".") for part in path.split("/"))


def _known_bytes(items: Iterable[Item]) -> int:
    return sum(item.bytes or 0 for item in items)
