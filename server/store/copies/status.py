"""Which places hold each revision, and whether they are enough. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from server.store.copies.copy import Inventory, folder_of
from server.store.receipt import Held, Receipt

State = Literal["whole", "partial", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one place holds of a revision."""

    address: str
    state: State
    files: int
    """How many files of all that any place knows of are there with their right size."""
    verified: datetime.datetime | None
    """When all of its files had been read back, where that is known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one revision is held."""

    repository: str
    revision: str
    files: int
    bytes: int
    holdings: tuple[Holding, ...]
    """The store first, then the copies in their order."""
    places: int
    """How many places hold the file that the fewest hold."""
    enough: bool


def standings(places: Sequence[Inventory | str], min_copies: int) -> tuple[Standing, ...]:
    """Every revision that any place holds, by name.

    `places` are the store and its copies: what each holds, or the address of one that cannot be
    looked into, which counts for nothing. A revision is all files that any receipt of it names, so
    that one that was removed from the store on purpose still counts by its copies.
    """
    known: dict[str, list[Receipt]] = {}
    for place in places:
        for key, receipt in place.receipts.items() if isinstance(place, Inventory) else ():
            known.setdefault(key, []).append(receipt)
    in_order = sorted(known, key=lambda key: key.split("@"))
    return tuple(_standing(known[key], key, places, min_copies) for key in in_order)


def with_times(place: Inventory, times: Mapping[str, datetime.datetime]) -> Inventory:
    """`place` with what else is known of when its files, `org/name/revision/path`, were read back.

    A revision was read back when the last of its files to be read was: the oldest of their times.
    """
    verified = dict(place.verified)
    for key, receipt in place.receipts.items():
        known = [times.get(f"{folder_of(receipt)}/{held.path}") for held in receipt.files]
        found = [time for time in known if time is not None]
        if found and len(found) == len(known):
            oldest = min(found)
            verified[key] = max(oldest, verified.get(key, oldest))
    return replace(place, verified=verified)


def _standing(
    receipts: Sequence[Receipt], key: str, places: Sequence[Inventory | str], min_copies: int
) -> Standing:
    files = {(held.path, held.sha256): held for one in receipts for held in one.files}
    held_at = [_held(place, key) for place in places]
    count = min((sum(file in held for held in held_at) for file in files), default=0)
    return Standing(
        repository=receipts[0].repository,
        revision=receipts[0].revision,
        files=len(files),
        bytes=sum(held.bytes for held in files.values()),
        holdings=tuple(
            _holding(place, key, len(held), len(files))
            for place, held in zip(places, held_at, strict=True)
        ),
        places=count,
        enough=count >= min_copies,
    )


def _held(place: Inventory | str, key: str) -> set[tuple[str, str]]:
    """The files that a place holds of a revision: in its receipt, and of the right size."""
    receipt = place.receipts.get(key) if isinstance(place, Inventory) else None
    if receipt is None or isinstance(place, str):
        return set()
    folder = folder_of(receipt)

    def is_there(held: Held) -> bool:
        return place.size(folder, held) == held.bytes

    return {(held.path, held.sha256) for held in receipt.files if is_there(held)}


def _holding(place: Inventory | str, key: str, held: int, files: int) -> Holding:
    if isinstance(place, str):
        return Holding(place, "unknown", 0, None)
    state: State = "whole" if held == files else "partial" if key in place.receipts else "absent"
    return Holding(place.address, state, held, place.verified.get(key))
