"""Bringing a copy up to the store: what it lacks is sent, and all that is new is read back.

Nothing is ever removed from a copy: it may hold what the store holds no more.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from server.errors import HoldfastError, StoreError
from server.store.copies.copy import SIGNATURE, Copy, Inventory, folder_of, key_of
from server.store.copies.crew import each
from server.store.copies.place import OnBytes
from server.store.naming import SUMS
from server.store.receipt import Held, Receipt, now, sums
from server.units import format_bytes

Action = Literal["send", "check"]


@dataclass(frozen=True, slots=True)
class Step:
    action: Action
    """send: put it there and read it back; check: read back what is there."""
    held: Held
    in_store: bool = True
    """Whether the store can send it again if what is there proves to be damaged."""

    @property
    def work(self) -> int:
        """Bytes that pass: each twice when it is sent and read back."""
        return self.held.bytes * (2 if self.action == "send" else 1)


@dataclass(frozen=True, slots=True)
class Original:
    """A revision as the store holds it."""

    receipt: Receipt
    folder: Path
    signature: bytes | None = None
    """Of the receipt's SHA256SUMS, where it was signed."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be done for one revision at one copy."""

    receipt: Receipt
    """What the copy's receipt will say: the files of the store and those it held already."""
    folder: Path
    """Where the store holds the revision."""
    steps: tuple[Step, ...] = ()
    seal: bool = False
    """Whether the receipt must be written."""
    signature: bytes | None = None
    """What belongs beside the receipt's SHA256SUMS."""
    complete: bool = False
    """Whether every file of the receipt is read back by these steps."""
    problems: tuple[str, ...] = ()
    """What no step can mend."""

    @property
    def sends(self) -> tuple[Held, ...]:
        return tuple(step.held for step in self.steps if step.action == "send")

    @property
    def send_bytes(self) -> int:
        return sum(held.bytes for held in self.sends)

    @property
    def work(self) -> int:
        return sum(step.work for step in self.steps)


@dataclass(frozen=True, slots=True)
class Done:
    """One step that was carried out, or could not be."""

    address: str
    errand: Errand
    step: Step
    error: HoldfastError | None
    mended: bool = False
    """Whether it was found damaged there and was sent again."""


def original(receipt: Receipt, folder: Path) -> Original:
    """With its signature, if there is one and it is of the sums that the receipt has."""
    try:
        if (folder / SUMS).read_text() == sums(receipt):
            return Original(receipt, folder, (folder / SIGNATURE).read_bytes())
    except OSError:  # not signed
        pass
    return Original(receipt, folder)


def plan(mine: Original, there: Inventory, *, check: bool = False) -> Errand:
    """What brings the copy `there` up to what the store holds.

    A file that lies there with the right size but not in the copy's receipt was cut off before it
    was read back, so that is done now. `check`: all files are read back, the known ones too.
    """
    receipt, folder = mine.receipt, folder_of(mine.receipt)
    known = there.receipts.get(key_of(receipt))
    theirs = {held.path: held for held in known.files} if known else {}
    ours = {held.path: held for held in receipt.files}
    steps, problems = [], []
    for path, held in sorted({**theirs, **ours}.items()):
        other = theirs.get(path, held)
        is_there = there.size(folder, held) == held.bytes
        if (other.bytes, other.sha256) != (held.bytes, held.sha256):
            problems.append(f"{path} is another file there: its sha256 is {other.sha256}")
        elif not is_there and path in ours:
            steps.append(Step("send", held))
        elif not is_there:
            problems.append(f"{path} is lost there, and the store does not hold it")
        elif check or path not in theirs:
            steps.append(Step("check", held, path in ours))
    files = tuple(held for _, held in sorted({**ours, **theirs}.items()))
    sealed = receipt if files == receipt.files or known is None else replace(known, files=files)
    signature = mine.signature if sealed == receipt else None
    present = [f"{folder}/{SUMS}" in there.sizes]
    if signature is not None:
        present.append(there.sizes.get(f"{folder}/{SIGNATURE}") == len(signature))
    return Errand(
        receipt=sealed,
        folder=mine.folder,
        steps=tuple(steps),
        seal=sealed != known or not all(present),
        signature=signature,
        complete=len(steps) == len(files),
        problems=tuple(problems),
    )


def require_space(copy: Copy, errands: Sequence[Errand]) -> None:
    """Raises StoreError where the place says that it cannot take all that is to be sent."""
    needed, free = sum(errand.send_bytes for errand in errands), copy.place.free()
    if free is not None and needed > free:
        raise StoreError(
            f"the copy {copy.address} has too little space",
            why=f"{format_bytes(needed)} are to be sent, {format_bytes(free)} are free",
            next_step="Free some, or name fewer models: holdfast mirror sync NAME...",
        )


def carry_out(
    copy: Copy,
    errands: Sequence[Errand],
    *,
    jobs: int,
    on_bytes: OnBytes,
    on_done: Callable[[Done], None],
) -> None:
    """All steps of all errands, `jobs` files at a time, and the receipts of those that succeed.

    Raises HubError where the copy gets out of reach. A revision of which a step fails keeps the
    receipt that it has there, so that nothing half-made counts as held.
    """
    for errand in errands:
        _one(copy, errand, jobs, on_bytes, on_done)


def _one(
    copy: Copy, errand: Errand, jobs: int, on_bytes: OnBytes, on_done: Callable[[Done], None]
) -> None:
    begun, failed = now(), bool(errand.problems)
    mended: set[Step] = set()

    def told(step: Step, error: HoldfastError | None) -> None:
        nonlocal failed
        failed = failed or error is not None
        on_done(Done(copy.address, errand, step, error, step in mended))

    def work(step: Step, on_bytes: OnBytes) -> None:
        if _carry_out(copy, errand, step, on_bytes) and step.action == "check":
            mended.add(step)

    each(errand.steps, work, jobs=jobs, on_bytes=on_bytes, on_done=told)
    if not failed:
        _finish(copy, errand, begun)


def _carry_out(copy: Copy, errand: Errand, step: Step, on_bytes: OnBytes) -> bool:
    """Whether the file had to be sent."""
    held = step.held
    if step.action == "check":
        found = copy.read_back(errand.receipt, held, on_bytes)
        if found == held.sha256:
            return False
        if not step.in_store:
            raise StoreError(
                f"{held.path} is damaged in the copy {copy.address}",
                why=f"its sha256 is {found}, and should be {held.sha256}",
                next_step="The store does not hold it: pull it again, then sync",
            )
    copy.send(errand.receipt, held, errand.folder / held.path, on_bytes)
    return True


def _finish(copy: Copy, errand: Errand, begun: datetime.datetime) -> None:
    if errand.seal:
        copy.seal(errand.receipt, errand.signature)
    # Even where nothing was to be done: the run that finished it may have been killed just then.
    copy.place.tidy(folder_of(errand.receipt))
    if errand.complete:
        copy.note_verified((errand.receipt,), begun)
