"""Damaged and missing files brought back: from another copy, else ModelScope, else the hub.

The good bytes are staged, read back from the disk and found right before the damaged file is set
aside below `.damaged` and they take its place. The caller holds the store's lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from server import __version__
from server.errors import StoreError
from server.store.copies.delivery import deliver, make_folder, unwritable
from server.store.donors import Places, Upstream
from server.store.durable import sync_folder
from server.store.reading import OnBytes, sha256_from_disk
from server.store.removal import drop_empty
from server.store.shelf import Shelf
from server.store.transfer import (
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Progress,
    Retrying,
    Want,
    fetch,
)
from server.store.verify import Claim


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file."""

    key: str
    """`org/name/revision/path`."""
    source: str | None = None
    """Where the good bytes came from; None: it could not be repaired."""
    aside: Path | None = None
    """Where the damaged file is now; None if there was none."""
    why: str = ""
    """Of a failure."""


@dataclass(frozen=True, slots=True)
class Means:
    places: Places
    upstream: Upstream | None
    """None: no hub is asked."""
    jobs: int
    limit_rate: int | None
    """Bytes per second from the hubs."""
    on_bytes: OnBytes
    """Told of each byte twice: when it arrives, and when it is read back."""
    on_result: Callable[[Result], None]


class Repair:
    """Brings back the files of one shelf."""

    def __init__(self, shelf: Shelf, means: Means) -> None:
        self._shelf = shelf
        self._means = means

    def files(self, claims: Sequence[Claim]) -> tuple[Result, ...]:
        """Bring back what is claimed, one after the other, and what is left over the network.

        One result for each claim. Interrupted, what is repaired stays so.
        """
        bad = {claim.key for claim in claims}
        results: list[Result] = []
        left = []
        for claim in claims:
            result = self._from_places(claim, bad)
            if result.source is None:
                left.append((claim, result.why))
            else:
                bad.discard(claim.key)
                results.append(self._told(result))
        results += self._from_upstream(left)
        for claim in claims:
            drop_empty(self._staged(claim, "").parent, claim.expected.path.count("/") + 4)
        return tuple(results)

    def _from_places(self, claim: Claim, bad: Collection[str]) -> Result:
        staged = self._staged(claim, ".repair")
        refusals = []
        for offer in self._means.places.offers(claim, bad):
            sha256 = claim.expected.sha256
            try:
                deliver(offer.open, staged, offer.bytes, sha256, self._means.on_bytes)
                return self._placed(claim, staged, offer.giver)
            except StoreError as error:
                refusals.append(f"{offer.giver}: {error.what}")
            except OSError as error:
                refusals.append(f"{offer.giver}: {error.strerror or error}")
        refusals += [what for what in self._means.places.silent.values() if what not in refusals]
        return Result(claim.key, why="; ".join(refusals))

    def _from_upstream(self, left: Sequence[tuple[Claim, str]]) -> tuple[Result, ...]:
        wants: dict[str, tuple[Claim, Want]] = {}
        results = []
        for claim, why in left:
            urls, size, refusals = (
                self._means.upstream.offers(claim) if self._means.upstream else ((), 0, ())
            )
            if urls:
                part = self._staged(claim, ".part")
                want = Want(claim.key, part, size, claim.expected.sha256, claim.git_oid, urls)
                wants[claim.key] = (claim, want)
            else:
                reasons = "; ".join(part for part in (why, *refusals) if part)
                nowhere = "no copy holds it, and no hub was asked"
                results.append(self._told(Result(claim.key, why=reasons or nowhere)))
        errors, strayed = self._fetch([want for _, want in wants.values()])
        for key, (claim, want) in wants.items():
            failed = errors.get(key)
            names = [url.name for url in want.urls]
            source = " or ".join(names) if key in strayed else names[0]
            result = Result(key, why=failed) if failed else self._proven(claim, want.part, source)
            results.append(self._told(result))
        return tuple(results)

    def _fetch(self, wants: Sequence[Want]) -> tuple[dict[str, str], set[str]]:
        """Fetch them; why it failed, of each that did, and which came not from the first source
        alone."""
        if not wants:
            return {}, set()
        errors = {want.path: "it was not fetched" for want in wants}
        strayed: set[str] = set()
        seen: dict[str, int] = {}

        def on_event(event: Event) -> None:
            if isinstance(event, FileStarted | Progress):
                now = event.resumed_bytes if isinstance(event, FileStarted) else event.bytes
                self._means.on_bytes(max(0, now - seen.get(event.path, 0)))
                seen[event.path] = max(now, seen.get(event.path, 0))
            elif isinstance(event, Retrying) and not event.seconds:
                strayed.add(event.path)
            elif isinstance(event, FileDone):
                errors.pop(event.path, None)
            elif isinstance(event, FileFailed):
                errors[event.path] = event.error.sentence

        with contextlib.suppress(StoreError):  # it was told by an event
            for want in wants:
                make_folder(want.part.parent)
            fetch(
                wants,
                jobs=self._means.jobs,
                limit_rate=self._means.limit_rate,
                on_event=on_event,
                stop=threading.Event(),
                user_agent=f"holdfast/{__version__}",
            )
        return errors, strayed

    def _proven(self, claim: Claim, part: Path, source: str) -> Result:
        """The fetched file read back from the disk, and put in its place."""
        try:
            found = sha256_from_disk(part, self._means.on_bytes)
        except OSError as error:
            return Result(claim.key, why=error.strerror or str(error))
        if found != claim.expected.sha256:
            part.unlink(missing_ok=True)
            return Result(claim.key, why="the disk gives it back otherwise than it was written")
        try:
            return self._placed(claim, part, source)
        except StoreError as error:
            return Result(claim.key, why=error.sentence)

    def _placed(self, claim: Claim, staged: Path, source: str) -> Result:
        """Set the damaged file aside and give the staged one its name. Raises StoreError."""
        volume, path = claim.volume, claim.expected.path
        target = volume.folder / path
        try:
            staged.chmod(0o444)
            aside = self._shelf.set_aside(volume, path) if os.path.lexists(target) else None
            make_folder(target.parent)
            os.rename(staged, target)
            sync_folder(target.parent)
        except OSError as error:
            raise unwritable(target, error) from error
        return Result(claim.key, source, aside)

    def _staged(self, claim: Claim, suffix: str) -> Path:
        volume = claim.volume
        incoming = self._shelf.incoming(volume.repository, volume.revision)
        return incoming / f"{claim.expected.path}{suffix}"

    def _told(self, result: Result) -> Result:
        self._means.on_result(result)
        return result
