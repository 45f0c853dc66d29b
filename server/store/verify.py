"""Every byte that the store holds, read back and held against the receipts.

First the folders are looked at: what is missing, too much, or of another size shows without reading
a byte. Then the files are read, as far as the budget reaches. Nothing is changed.
"""

from __future__ import annotations

import datetime
import os
import stat
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.store.manifest import (
    MISSING,
    OWN,
    UNREADABLE,
    Expected,
    Manifest,
    read_manifest,
)
from server.store.reading import Crew, OnBytes, sha256_from_disk
from server.store.scrub import Budget, Due, schedule
from server.store.shelf import Volume

Kind = Literal[
    "damaged",
    "wrong size",
    "missing",
    "unreadable",
    "not a file",
    "unsteady",
    "bad signature",
    "extra",
    "unrecorded",
]
_HARMLESS = frozenset({"extra", "unrecorded"})

_BETWEEN = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    `unsteady`: read wrong once and right the next time, so the disk holds it, and something on the
    way fails. `extra`: no receipt names it. `unrecorded`: a folder of which nothing says what
    should be in it.
    """

    repository: str
    revision: str
    path: str
    """In the revision's folder; empty where the folder itself is meant."""
    kind: Kind
    why: str

    @property
    def is_damage(self) -> bool:
        return self.kind not in _HARMLESS

    @property
    def key(self) -> str:
        return f"{self.repository}/{self.revision}/{self.path}"

    @property
    def name(self) -> str:
        """For people: the revision is cut to twelve digits."""
        path = f"/{self.path}" if self.path else ""
        return f"{self.repository}@{self.revision[:12]}{path}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A file that must have a content, as one revision's manifest says."""

    volume: Volume
    expected: Expected

    @property
    def key(self) -> str:
        return f"{self.volume.repository}/{self.volume.revision}/{self.expected.path}"

    @property
    def git_oid(self) -> str | None:
        """As the receipt tells it, where it does."""
        held = self.volume.receipt.file(self.expected.path) if self.volume.receipt else None
        return held.git_oid if held else None

    def finding(self, kind: Kind, why: str) -> Finding:
        return Finding(self.volume.repository, self.volume.revision, self.expected.path, kind, why)


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is to be read, once for all the revisions that share it by a hard link."""

    path: Path
    bytes: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the folders look like; no file was read but receipts and SHA256SUMS."""

    readings: tuple[Reading, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was read."""

    reading: Reading
    findings: tuple[Finding, ...]
    """One for each claim that does not hold."""


def inspect(volumes: Iterable[Volume]) -> Inspection:
    """Look at the folders of `volumes`. What cannot be looked at is a finding, never an error."""
    findings: list[Finding] = []
    shared: dict[tuple[int, int], list[tuple[Path, int, Claim]]] = {}
    for volume, manifest in _manifests(volumes):
        findings += _of_manifest(volume, manifest)
        findings += _surplus(volume, manifest)
        for expected in manifest.files:
            claim, path = Claim(volume, expected), volume.folder / expected.path
            status = _status(path)
            if problem := _visible(claim, status):
                findings.append(problem)
            elif isinstance(status, os.stat_result):
                place = (status.st_dev, status.st_ino)
                shared.setdefault(place, []).append((path, status.st_size, claim))
    readings = tuple(
        Reading(group[0][0], group[0][1], tuple(claim for _, _, claim in group))
        for group in shared.values()
    )
    return Inspection(readings, tuple(findings))


def _manifests(volumes: Iterable[Volume]) -> list[tuple[Volume, Manifest]]:
    """Those that are damaged are read twice: a pull that adds files writes one of the two after
    the other, and in between they disagree."""
    read = [(volume, read_manifest(volume.folder)) for volume in volumes]
    if any(manifest.damage and not manifest.is_empty for _, manifest in read):
        time.sleep(_BETWEEN)
    return [
        (volume, read_manifest(volume.folder) if manifest.damage else manifest)
        for volume, manifest in read
    ]


def choose(
    readings: Sequence[Reading], verified: Mapping[str, datetime.datetime], budget: Budget
) -> tuple[Reading, ...]:
    """What one run reads, in order; `verified` tells of each file's key when it last was."""
    by_key = {reading.claims[0].key: reading for reading in readings}
    due = (Due(key, reading.bytes, _oldest(reading, verified)) for key, reading in by_key.items())
    return tuple(by_key[one.key] for one in schedule(due, budget))


def check(
    readings: Sequence[Reading],
    *,
    jobs: int,
    on_bytes: OnBytes,
    cached: bool = False,
    seconds: float | None = None,
) -> Generator[Checked, None, None]:
    """Read these files, `jobs` at a time; none is begun after `seconds`.

    `on_bytes` is called by several threads. Leaving the iteration ends the reading.
    """

    def watched(count: int) -> None:
        crew.check()
        on_bytes(count)

    def work(reading: Reading) -> tuple[str, ...]:
        first = sha256_from_disk(reading.path, watched, cached=cached)
        if all(claim.expected.sha256 == first for claim in reading.claims):
            return (first,)
        return first, sha256_from_disk(reading.path, lambda _: crew.check())

    crew = Crew(work, jobs)
    end = None if seconds is None else time.monotonic() + seconds
    for reading, found in crew.results(readings, lambda: end is None or time.monotonic() < end):
        claims = reading.claims
        if isinstance(found, FileNotFoundError):
            claims = tuple(claim for claim in claims if _stands(claim))
        yield Checked(reading, tuple(judged(claims, found)))


def judged(claims: Iterable[Claim], found: Sequence[str] | OSError) -> Iterator[Finding]:
    """What a file's sha256, of one reading or of two, says of each claim on it. Pure."""
    for claim in claims:
        wanted = claim.expected.sha256
        if isinstance(found, FileNotFoundError):
            yield claim.finding("missing", "it was taken away while others were read")
        elif isinstance(found, OSError):
            yield claim.finding("unreadable", found.strerror or str(found))
        elif found[0] == wanted:
            continue
        elif wanted in found:
            yield claim.finding(
                "unsteady",
                "it was read wrong once and right the next time: the memory, a cable or the disk "
                "is failing",
            )
        else:
            yield claim.finding("damaged", f"its sha256 is {found[-1]}, and should be {wanted}")


def _stands(claim: Claim) -> bool:
    """Whether the file is still to be there: `holdfast store rm` may have taken it meanwhile."""
    return claim.expected in read_manifest(claim.volume.folder).files


def _oldest(
    reading: Reading, verified: Mapping[str, datetime.datetime]
) -> datetime.datetime | None:
    times = [verified.get(claim.key) for claim in reading.claims]
    known = [time for time in times if time is not None]
    return min(known) if len(known) == len(times) else None


def _of_manifest(volume: Volume, manifest: Manifest) -> Iterator[Finding]:
    repository, revision = volume.repository, volume.revision
    if manifest.is_empty:
        why = "it has no receipt: `holdfast store adopt` or `holdfast pull` gives it one"
        yield Finding(repository, revision, "", "unrecorded", why)
        return
    for name, why in manifest.damage.items():
        kind: Kind = "missing" if why == MISSING else "damaged"
        if why.startswith(UNREADABLE):
            kind = "unreadable"
        yield Finding(repository, revision, name, kind, why)


def _surplus(volume: Volume, manifest: Manifest) -> Iterator[Finding]:
    """Files that nothing names. Without a receipt, no file is too much."""
    if manifest.is_empty:
        return
    named = {expected.path for expected in manifest.files} | OWN
    for parent, folders, files in os.walk(volume.folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in sorted(files + links):
            path = (Path(parent) / name).relative_to(volume.folder).as_posix()
            if path not in named:
                why = "no receipt names it"
                yield Finding(volume.repository, volume.revision, path, "extra", why)


def _status(path: Path) -> os.stat_result | OSError:
    try:
        return os.lstat(path)
    except OSError as error:
        return error


def _visible(claim: Claim, status: os.stat_result | OSError) -> Finding | None:
    """What is wrong with a file that shows without reading it."""
    wanted = claim.expected.bytes
    if isinstance(status, (FileNotFoundError, NotADirectoryError)):
        return claim.finding("missing", "it is not there")
    if isinstance(status, OSError):
        return claim.finding("unreadable", status.strerror or str(status))
    if not stat.S_ISREG(status.st_mode):
        return claim.finding("not a file", "something else stands in its place")
    if wanted is not None and status.st_size != wanted:
        why = f"it has {status.st_size} bytes, and should have {wanted}"
        return claim.finding("wrong size", why)
    return None
