"""Whether bytes that are to be removed exist a second time, proven.

A copy counts for what its receipts name, what has the right size there, and what was read back not
long ago; anything else is read back now. A disk that rots silently is the case this is for.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import HoldfastError
from server.store.copies.copy import Copy, Inventory, key_of
from server.store.copies.place import OnBytes
from server.store.digest import sha256_of
from server.store.receipt import Held, Receipt

FRESH = datetime.timedelta(days=30)
"""How long a copy's bytes count as good after they were read back."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A copy that can be asked for the files in question."""

    copy: Copy
    receipt: Receipt
    files: tuple[Held, ...]
    """Of those that are to go, the ones that the copy holds by name, digest and size."""
    fresh: bool
    """Whether they were read back less than FRESH ago."""


def kept_here(
    files: Iterable[tuple[Held, Path]], others: Mapping[str, Path], on_bytes: OnBytes
) -> frozenset[str]:
    """The sha256 of those files whose content stays in the same store, `others` telling where.

    A second name of the same file is as good as the first; another file is read.
    """
    good = set()
    for held, path in files:
        other = others.get(held.sha256)
        with contextlib.suppress(OSError):  # unreadable: it does not count
            if other and (other.samefile(path) or sha256_of(other, on_bytes) == held.sha256):
                good.add(held.sha256)
    return frozenset(good)


def witness(
    copy: Copy, there: Inventory, receipt: Receipt, files: Sequence[Held], now: datetime.datetime
) -> Witness | None:
    """What the copy can say of `files` of the receipt's revision; None if it holds none of them."""
    key = key_of(receipt)
    own = there.receipts.get(key)
    if own is None:
        return None
    known = {(held.path, held.sha256) for held in own.files}
    folder = f"{receipt.repository}/{receipt.revision}"
    held = tuple(
        file
        for file in files
        if (file.path, file.sha256) in known and there.size(folder, file) == file.bytes
    )
    read = there.verified.get(key)
    return Witness(copy, own, held, read is not None and now - read < FRESH) if held else None


def proven(one: Witness, on_bytes: OnBytes, tell: Callable[[str], None]) -> frozenset[str]:
    """The sha256 of the files that the copy really has, reading them back where that is due.

    What cannot be read, or reads otherwise, is told and does not count.
    """
    if one.fresh:
        return frozenset(file.sha256 for file in one.files)
    good = set()
    for file in one.files:
        try:
            if one.copy.read_back(one.receipt, file, on_bytes) == file.sha256:
                good.add(file.sha256)
            else:
                tell(f"{one.copy.address}: {file.path} is damaged there")
        except (HoldfastError, OSError) as error:
            tell(f"{one.copy.address}: {file.path}: {error}")
    return frozenset(good)


def last(files: Iterable[Held], good: frozenset[str]) -> tuple[Held, ...]:
    """Those of `files` whose bytes would be gone for good."""
    return tuple(file for file in files if file.sha256 not in good)
