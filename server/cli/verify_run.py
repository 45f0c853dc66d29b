"""One run of `holdfast verify`: what it reads, mends and remembers."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from server.cli.held import held
from server.cli.verify_report import Report
from server.errors import StoreError

if TYPE_CHECKING:
    from server.cli.work import Work
    from server.settings import Settings
    from server.store.repair import Result
    from server.store.scrub import Budget
    from server.store.scrubbed import Scrubbed
    from server.store.shelf import Shelf, Volume
    from server.store.verify import Finding, Reading

_SAVE_EVERY = 10.0  # seconds
_LONG = 10.0
"""Seconds after which damage is told as it is found, and not at the end alone."""


def prepare(settings: Settings, copy: Path | None, jobs: int | None, cached: bool) -> Run:
    """For the store, or for the copy in a folder. Raises StoreError if there is none."""
    from server.store.receipt import now
    from server.store.scrubbed import Scrubbed
    from server.store.shelf import Shelf

    root = copy.expanduser().absolute() if copy else settings.models
    if copy and not root.is_dir():
        raise StoreError(
            f"there is no copy at {root}",
            why="it is not a folder",
            next_step="Mount its disk; a copy in a bucket: `holdfast mirror sync --verify`",
        )
    jobs = jobs or len(os.sched_getaffinity(0))
    return Run(settings, Shelf(root), Scrubbed(settings.state, root), jobs, cached, now())


@dataclass(slots=True)
class Run:
    """One call of the verb."""

    settings: Settings
    shelf: Shelf
    memory: Scrubbed
    jobs: int
    cached: bool
    begun: datetime.datetime
    good: set[str] = field(default_factory=set)
    saved: float = 0.0
    present: frozenset[str] | None = None
    """Every file's key, where the whole store was looked at."""

    def verify(self, names: Sequence[str], budget: Budget, signers: Path | None) -> Report:
        from server.cli.work import Work
        from server.store.verify import choose, inspect

        report = Report(self.shelf.root)
        volumes = held(names, self.shelf, self.settings)
        seen = inspect(volumes)
        report.findings += seen.findings
        if signers is not None:
            _check_signatures(volumes, signers.expanduser(), report)
        if not names:
            keys = (claim.key for reading in seen.readings for claim in reading.claims)
            self.present = frozenset(keys)
        chosen = choose(seen.readings, self.memory.times, budget)
        begun = time.monotonic()
        with Work("verify", sum(one.bytes for one in chosen)) as work:
            try:
                self._read(chosen, budget, report, work)
            except KeyboardInterrupt:
                report.interrupted = True
        report.seconds = time.monotonic() - begun
        report.left_files = len(seen.readings) - report.files
        report.left_bytes = sum(one.bytes for one in seen.readings) - report.bytes
        report.damage = [one for one in report.findings if one.is_damage]
        return report

    def _read(self, chosen: Sequence[Reading], budget: Budget, report: Report, work: Work) -> None:
        from server.store.verify import check

        checking = check(
            chosen,
            jobs=self.jobs,
            on_bytes=work.on_bytes,
            cached=self.cached,
            seconds=budget.seconds,
        )
        begun = time.monotonic()
        with contextlib.closing(checking):
            for one in checking:
                report.files += 1
                report.bytes += one.reading.bytes
                report.findings += one.findings
                for finding in one.findings if time.monotonic() - begun > _LONG else ():
                    work.say(f"{finding.kind}: {finding.name}")
                bad = {finding.key for finding in one.findings}
                self._good([claim.key for claim in one.reading.claims if claim.key not in bad])

    def repair(self, report: Report) -> None:
        from server import catalogue
        from server.cli.work import Work
        from server.store.donors import places, upstream
        from server.store.mending import Mended, mend
        from server.store.repair import Means

        loaded = catalogue.load(self.settings)
        results: dict[str, Result] = {}

        def on_result(result: Result) -> None:
            results[result.key] = result
            if result.source is not None:
                self._good([result.key])

        with Work("repair", 2 * _bytes(self.shelf, report.damage)) as work:
            means = Means(
                places=places(self.settings, loaded.store.copies, self.shelf.root),
                upstream=upstream(self.settings, loaded),
                jobs=loaded.store.jobs,
                limit_rate=loaded.store.limit_rate,
                on_bytes=work.on_bytes,
                on_result=on_result,
            )
            try:
                mended = mend(self.shelf, report.findings, means, self._recheck)
            except KeyboardInterrupt:
                report.interrupted = True
                mended = Mended(tuple(results.values()), tuple(report.findings))
        report.findings, report.damage = list(mended.findings), list(mended.damage)
        report.results = results

    def _recheck(self, volume: Volume) -> list[Finding]:
        from server.store.verify import check, inspect

        seen = inspect([volume])
        found = list(seen.findings)
        for one in check(seen.readings, jobs=self.jobs, on_bytes=lambda count: None):
            found += one.findings
        return found

    def _good(self, keys: Sequence[str]) -> None:
        from server.store.receipt import now

        self.good.update(keys)
        self.memory.note(keys, now())
        if time.monotonic() - self.saved > _SAVE_EVERY:
            self.saved = time.monotonic()
            with contextlib.suppress(StoreError):  # told at the end
                self.memory.save()

    def remember(self, report: Report) -> None:
        """What was found good; where it cannot be written, that is told and no failure."""
        try:
            self.memory.save(None if report.interrupted else self.present)
        except StoreError as error:
            typer.echo(f"Note: {error.sentence}", err=True)
        if self.shelf.root != self.settings.models:
            self._note_in_copy()

    def _note_in_copy(self) -> None:
        """For `holdfast mirror status`: what was read whole, if this is a copy that can be noted
        in."""
        from server.store.copies.copy import Copy
        from server.store.copies.folder import Folder

        receipts = [volume.receipt for volume in self.shelf.volumes() if volume.receipt is not None]
        whole = [
            receipt
            for receipt in receipts
            if all(
                f"{receipt.repository}/{receipt.revision}/{held.path}" in self.good
                for held in receipt.files
            )
        ]
        with contextlib.suppress(StoreError):
            Copy(Folder(self.shelf.root)).note_verified(whole, self.begun)


def _check_signatures(volumes: Sequence[Volume], signers: Path, report: Report) -> None:
    from server.store.manifest import SIGNATURE
    from server.store.signature import check
    from server.store.verify import Finding

    for volume in volumes:
        signed = check(volume, signers)
        if signed.by is not None:
            report.signers[f"{volume.repository}@{volume.revision}"] = signed.why
            continue
        bad = Finding(volume.repository, volume.revision, SIGNATURE, "bad signature", signed.why)
        report.findings.append(bad)


def _bytes(shelf: Shelf, damage: Sequence[Finding]) -> int:
    """Of all that is to be brought back, as far as receipts tell."""
    keys = {finding.key for finding in damage}
    return sum(
        held.bytes
        for volume in shelf.volumes()
        for held in (volume.receipt.files if volume.receipt else ())
        if f"{volume.repository}/{volume.revision}/{held.path}" in keys
    )
