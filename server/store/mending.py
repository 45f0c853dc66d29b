"""A store mended: receipts first, since they say what the files must be, then the files.

A receipt is mended from SHA256SUMS or the other way round, from a copy's where that agrees, and
where nobody has one it is made anew from SHA256SUMS and the files. The caller holds the lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from server.errors import HoldfastError, StoreError
from server.store.digest import git_blob_oid, lfs_pointer_oid
from server.store.donors import Places
from server.store.manifest import Manifest, manifest, read_manifest
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Held, Receipt, now, write_receipt
from server.store.repair import Means, Repair, Result
from server.store.shelf import Shelf, Volume
from server.store.verify import Claim, Finding, Kind
from server.units import MIB

_REPAIRABLE: frozenset[Kind] = frozenset(
    {"damaged", "wrong size", "missing", "unreadable", "not a file"}
)
_REBUILT = "rebuilt from SHA256SUMS"
_LFS = (".safetensors", ".gguf")
_LARGEST_IN_GIT = 10 * MIB
"""Bytes; what is larger a hub takes in LFS only."""

Recheck = Callable[[Volume], Sequence[Finding]]
"""Reads all files of a revision whose receipt has just been mended, and says what is wrong."""


@dataclass(frozen=True, slots=True)
class Mended:
    results: tuple[Result, ...]
    """What became of each file that was to be repaired."""
    findings: tuple[Finding, ...]
    """As they were, but for revisions whose receipt had misled: these are as read again."""

    @property
    def damage(self) -> tuple[Finding, ...]:
        """What stays."""
        repaired = {one.key for one in self.results if one.source is not None}
        return tuple(one for one in self.findings if one.is_damage and one.key not in repaired)


def mend(shelf: Shelf, findings: Sequence[Finding], means: Means, recheck: Recheck) -> Mended:
    """Repair what can be repaired; each result is told when it is there."""
    results: dict[str, Result] = {}
    standing = list(findings)
    doubtful = []
    for volume in _volumes(shelf, findings, {RECEIPT, SUMS}):
        before = read_manifest(volume.folder)
        receipt = _mended(before, volume, means.places)
        if receipt is None:
            doubtful.append(volume)
            continue
        for result in _rewrite(shelf, volume, before, *receipt):
            results[result.key] = result
            means.on_result(result)
        if _contents(read_manifest(volume.folder)) != _contents(before):
            standing = [
                one for one in standing if not _is_of(one, volume) or one.path in (RECEIPT, SUMS)
            ]
            standing += recheck(volume)
    claims = tuple(_claims(shelf, standing))
    results |= {one.key: one for one in Repair(shelf, means).files(claims)}
    for volume in doubtful:
        for result in _rebuild(shelf, volume, standing, results):
            results[result.key] = result
            means.on_result(result)
    return Mended(tuple(results.values()), tuple(standing))


def _stays(finding: Finding, results: dict[str, Result]) -> bool:
    result = results.get(finding.key)
    return finding.is_damage and (result is None or result.source is None)


def _volumes(shelf: Shelf, findings: Sequence[Finding], paths: set[str]) -> list[Volume]:
    named = {(one.repository, one.revision): None for one in findings if one.path in paths}
    found = (shelf.volume(repository, revision) for repository, revision in named)
    return [volume for volume in found if volume is not None]


def _claims(shelf: Shelf, findings: Sequence[Finding]) -> list[Claim]:
    """What the damaged files must be, by the manifests as they are now."""
    wanted = {
        (one.repository, one.revision, one.path): None
        for one in findings
        if one.kind in _REPAIRABLE and one.path not in (RECEIPT, SUMS)
    }
    claims: dict[tuple[str, str, str], Claim] = {}
    for repository, revision in dict.fromkeys((key[0], key[1]) for key in wanted):
        volume = shelf.volume(repository, revision)
        for expected in read_manifest(volume.folder).files if volume else ():
            assert volume is not None
            claims[repository, revision, expected.path] = Claim(volume, expected)
    return [claims[key] for key in wanted if key in claims]


def _mended(before: Manifest, volume: Volume, places: Places) -> tuple[Receipt, str] | None:
    """The receipt that the revision should have, and where it came from; None: nobody has it."""
    if before.trusted is not None:
        return before.trusted, RECEIPT
    for name, place in places:
        folder = f"{volume.repository}/{volume.revision}"
        try:
            data, listed = place.read(f"{folder}/{RECEIPT}"), place.read(f"{folder}/{SUMS}")
        except HoldfastError:
            continue
        if data is None or listed is None:
            continue
        theirs = manifest(data, listed, volume.repository, volume.revision)
        if theirs.damage or theirs.receipt is None:
            continue
        # Theirs is sealed and ours is not: what they say of a file of this revision is so.
        named = {one.path for one in before.files}
        files = tuple(
            one
            for one in theirs.receipt.files
            if one.path in named or (volume.folder / one.path).exists()
        )
        return replace(theirs.receipt, files=files), name
    return None


def _rebuild(
    shelf: Shelf, volume: Volume, findings: Sequence[Finding], results: dict[str, Result]
) -> list[Result]:
    """A receipt made anew, if SHA256SUMS is whole and every file is as it says."""
    before = read_manifest(volume.folder)
    keys = [f"{volume.repository}/{volume.revision}/{name}" for name in before.damage]
    others = [one for one in findings if _is_of(one, volume) and one.path not in (RECEIPT, SUMS)]
    if SUMS in before.damage or not before.files:
        why = f"no copy has a sound one, and {SUMS} is damaged too"
        return [Result(key, why=why) for key in keys]
    if any(_stays(one, results) for one in others):
        why = "no copy has a sound one, and it cannot be made anew before all files are repaired"
        return [Result(key, why=why) for key in keys]
    torn = before.receipt
    try:
        files = tuple(_held(volume.folder, one.path, one.sha256, torn) for one in before.files)
    except OSError as error:
        return [Result(key, why=error.strerror or str(error)) for key in keys]
    receipt = Receipt(
        repository=volume.repository,
        revision=volume.revision,
        source=f"{_REBUILT}; before: {torn.source}" if torn else _REBUILT,
        fetched=torn.fetched if torn else now(),
        files=files,
        licence=torn.licence if torn else None,
    )
    return _rewrite(shelf, volume, before, receipt, SUMS)


def _held(folder: Path, path: str, sha256: str, torn: Receipt | None) -> Held:
    """A file as it lies there, found good; with what a damaged receipt still tells, if it agrees.

    Raises OSError.
    """
    size = (folder / path).stat().st_size
    lfs = path.endswith(_LFS) or size > _LARGEST_IN_GIT
    known = torn.file(path) if torn else None
    if known is not None and (known.sha256, known.bytes) == (sha256, size):
        lfs = known.lfs
    oid = lfs_pointer_oid(sha256, size) if lfs else git_blob_oid(folder / path)
    return Held(path, size, sha256, oid, lfs)


def _rewrite(
    shelf: Shelf, volume: Volume, before: Manifest, receipt: Receipt, source: str
) -> list[Result]:
    """Set aside what is damaged of the two, and write both."""
    results = []
    try:
        for name in before.damage:
            key = f"{volume.repository}/{volume.revision}/{name}"
            is_there = os.path.lexists(volume.folder / name)
            aside = shelf.set_aside(volume, name) if is_there else None
            results.append(Result(key, source, aside))
        write_receipt(volume.folder, receipt)
    except StoreError as error:
        return [replace(one, source=None, why=error.sentence) for one in results]
    return results


def _contents(of: Manifest) -> set[tuple[str, str]]:
    return {(one.path, one.sha256) for one in of.files}


def _is_of(finding: Finding, volume: Volume) -> bool:
    return (finding.repository, finding.revision) == (volume.repository, volume.revision)
