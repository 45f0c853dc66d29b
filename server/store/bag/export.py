"""Writing bags: each file linked or streamed, synced and read back, the tag files last."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server import __version__
from server.errors import HoldfastError, StoreError
from server.store.bag.packing import Item, pack, revisions
from server.store.bag.tags import (
    DECLARATION,
    DECLARED,
    INFO,
    MANIFEST,
    PAYLOAD,
    TAG_MANIFEST,
    info,
    manifest,
)
from server.store.copies.copy import SIGNATURE, folder_of, key_of
from server.store.copies.crew import each
from server.store.copies.delivery import (
    deliver,
    differs,
    digest,
    make_folder,
    open_at,
    settle,
    unwritable,
    write_whole,
)
from server.store.copies.place import OnBytes
from server.store.copies.sync import Original
from server.store.links import link_or_copy
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Held, encode, sums
from server.units import format_bytes

_INCOMPLETE = ".incomplete"


@dataclass(frozen=True, slots=True)
class Bag:
    """One bag that is to be written."""

    name: str
    """Of its folder; empty where the whole export is one bag."""
    group: str
    number: int
    count: int
    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Bytes of its repositories' files."""
        return sum(item.held.bytes for item in self.items)

    @property
    def generated(self) -> dict[str, bytes]:
        """Payload that is not a file of a repository, by its path from the bag's root."""
        files: dict[str, bytes] = {}
        for one in revisions(self.items):
            folder = f"{PAYLOAD}/{folder_of(one.receipt)}"
            files[f"{folder}/{RECEIPT}"] = encode(one.receipt)
            files[f"{folder}/{SUMS}"] = sums(one.receipt).encode()
            if one.signature is not None:
                files[f"{folder}/{SIGNATURE}"] = one.signature
        return files


def plan(originals: Sequence[Original], media_size: int | None = None) -> tuple[Bag, ...]:
    """The bags of an export; the same for the same store and size, so that it can be gone on with.

    Raises StoreError if there is nothing to export, or a file fits on no medium.
    """
    if not any(one.receipt.files for one in originals):
        raise StoreError(
            "there is nothing to export",
            why="the store holds no model with a receipt",
            next_step="Pull one: holdfast pull NAME",
        )
    packed = pack(originals, media_size)
    text = "".join(f"{key_of(one.receipt)}\n{sums(one.receipt)}" for one in originals)
    digest = hashlib.sha256(f"{media_size}\n{text}".encode()).hexdigest()
    group = f"holdfast-{digest[:12]}"
    digits = len(str(len(packed)))
    return tuple(
        Bag(
            name=f"{group}-{number:0{digits}}-of-{len(packed)}" if len(packed) > 1 else "",
            group=group,
            number=number,
            count=len(packed),
            items=items,
        )
        for number, items in enumerate(packed, 1)
    )


def write_bag(
    bag: Bag,
    root: Path,
    *,
    jobs: int,
    on_bytes: OnBytes,
    on_done: Callable[[Item, HoldfastError | None], None],
) -> bool:
    """The bag in the folder `root`; whether it is whole. Goes on with one that was interrupted.

    Every file is read back from where it lies. Raises StoreError if `root` holds anything else, or
    cannot take the bag.
    """
    failed = []
    _require_own(bag, root)
    _require_space(bag, root)

    def told(item: Item, error: HoldfastError | None) -> None:
        if error is not None:
            failed.append(item)
        on_done(item, error)

    each(bag.items, partial(_bring, root), jobs=jobs, on_bytes=on_bytes, on_done=told)
    if failed:
        return False
    # The declaration comes last: a folder without it is no bag yet.
    for path, data in {**bag.generated, **_tags(bag)}.items():
        write_whole(root / _INCOMPLETE / f"{path}.part", root / path, data)
    shutil.rmtree(root / _INCOMPLETE, ignore_errors=True)
    return True


def _bring(root: Path, item: Item, on_bytes: OnBytes) -> None:
    """One file of the bag, under its name only when it has been read back there."""
    held, source = item.held, item.original.folder / item.held.path
    target, part = root / item.path, root / _INCOMPLETE / f"{item.path}.part"
    if target.is_file() and target.stat().st_size == held.bytes:  # by an earlier run
        on_bytes(2 * held.bytes)
        return
    if not _linked(source, part, held, on_bytes):
        deliver(partial(open_at, source), part, held.bytes, held.sha256, on_bytes)
    settle(part, target)


def _linked(source: Path, part: Path, held: Held, on_bytes: OnBytes) -> bool:
    """`part` without bytes of its own, where the file system can; read all the same."""
    try:
        make_folder(part.parent)
        if part.exists() and part.stat().st_nlink == 1:  # it was streamed, and is gone on with
            return False
        part.unlink(missing_ok=True)
        if link_or_copy(source, part, allow_copy=False) is None:
            return False
        on_bytes(held.bytes)
        found = digest(open_at(part, 0), on_bytes)
        if found != held.sha256:
            part.unlink()
            raise differs(source.name, held.sha256, found, found)
    except OSError as error:
        raise unwritable(part, error, held.bytes) from error
    return True


def _tags(bag: Bag) -> dict[str, bytes]:
    """The bag's tag files, in the order in which they are written."""
    generated = bag.generated
    payload = {item.path: item.held.sha256 for item in bag.items}
    payload |= {path: hashlib.sha256(data).hexdigest() for path, data in generated.items()}
    total = bag.size + sum(map(len, generated.values()))
    fields = [
        ("Bag-Software-Agent", f"Holdfast {__version__}"),
        ("Bagging-Date", datetime.datetime.now(datetime.UTC).date().isoformat()),
        ("External-Description", "Weights of models; `holdfast store import` unpacks them"),
        *(("External-Identifier", key_of(one.receipt)) for one in revisions(bag.items)),
        ("Bag-Size", format_bytes(total)),
        ("Payload-Oxum", f"{total}.{len(payload)}"),
        ("Bag-Group-Identifier", bag.group),
        ("Bag-Count", f"{bag.number} of {bag.count}"),
    ]
    tags = {MANIFEST: manifest(payload), INFO: info(fields)}
    declared = {**tags, DECLARATION: DECLARED}
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in declared.items()}
    return {**tags, TAG_MANIFEST: manifest(digests), DECLARATION: DECLARED}


def _require_own(bag: Bag, root: Path) -> None:
    """Raises StoreError if something lies in `root` that would not belong to the bag."""
    own = {item.path for item in bag.items} | bag.generated.keys()
    own |= {DECLARATION, INFO, MANIFEST, TAG_MANIFEST}
    for parent, folders, files in os.walk(root):
        if Path(parent) == root:
            folders[:] = [name for name in folders if name not in (_INCOMPLETE, "lost+found")]
        for name in files:
            path = (Path(parent) / name).relative_to(root).as_posix()
            if path not in own:
                raise StoreError(
                    f"{root} is not empty",
                    why=f"{path} lies in it, which is not of this export",
                    next_step="Name an empty folder, or the one in which the same export began",
                )


def _require_space(bag: Bag, root: Path) -> None:
    try:
        make_folder(root)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise unwritable(root, error) from error
    places = [(root / item.path, item) for item in bag.items]
    needed = sum(item.held.bytes for path, item in places if not path.exists())
    same_disk = os.stat(root).st_dev == os.stat(bag.items[0].original.folder).st_dev
    if needed > free and not same_disk:  # on the same disk it is linked
        raise StoreError(
            f"{root} has too little space",
            why=f"{format_bytes(needed)} are needed, {format_bytes(free)} are free",
            next_step="Split the export over media: --media-size 64G",
        )
