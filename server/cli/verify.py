"""`holdfast verify`: read everything back, and mend what is damaged."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.held import Names, held
from server.cli.options import Config, Home, Json, load_settings
from server.cli.verify_report import Report, as_json, lines
from server.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from server.cli.work import Work
    from server.settings import Settings
    from server.store.repair import Result
    from server.store.scrub import Budget
    from server.store.scrubbed import Scrubbed
    from server.store.shelf import Shelf, Volume
    from server.store.verify import Finding, Reading

DAMAGED = 4  # as StoreError's exit code
_SAVE_EVERY = 10.0  # seconds


Budgeted = Annotated[
    str | None,
    typer.Option("--budget", help="Read for so long (2h) or so much (200G), oldest first."),
]
Mends = Annotated[
    bool, typer.Option("--repair", help="Bring back what is damaged: from a copy, else a hub.")
]
Copied = Annotated[
    Path | None,
    typer.Option("--copy", help="Verify the copy in this folder instead of the store."),
]
Signature = Annotated[
    bool, typer.Option("--signature", help="Check who signed each revision, too.")
]
Signers = Annotated[
    Path | None,
    typer.Option("--allowed-signers", help="Whom to trust: a file as in ssh-keygen(1)."),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=256, help="Files at a time [default: one for each core]."),
]
Cached = Annotated[
    bool,
    typer.Option("--cached", help="Take from memory what is there: faster, and proves less."),
]


def verify(
    names: Names = None,
    budget: Budgeted = None,
    repair: Mends = False,
    copy: Copied = None,
    signature: Signature = False,
    allowed_signers: Signers = None,
    jobs: Jobs = None,
    cached: Cached = False,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Read the weights back from the disk and hold every byte against the receipts.

    Needs no network. Finds flipped bits, wrong sizes and missing files, and tells of files that do
    not belong there. With a budget, what was not verified for longest comes first, and the next
    run goes on from there; a file once begun is read to its end. A single hard disk is read
    fastest with --jobs 1.

    --repair takes what is damaged from elsewhere in the store, from the copies ([store] copies),
    from ModelScope, or from the hub; the damaged file is kept below models/.damaged.

    The exit code is 0 if all is well, and 4 if damage stays.

    \b
    Examples:
      holdfast verify
      holdfast verify --repair
      holdfast verify Qwen/Qwen3.5-9B --budget 30m
      holdfast verify --budget 200G --json
      holdfast verify --copy /mnt/nas/holdfast --repair
      holdfast verify --signature --allowed-signers ~/.ssh/allowed_signers
    """
    from server.store.lock import store_lock
    from server.store.scrub import Budget, parse_budget

    limit = parse_budget(budget) if budget else Budget()
    if signature and allowed_signers is None:
        raise ConfigError(
            "--signature needs --allowed-signers",
            next_step='Name a file with lines such as "you@example.org ssh-ed25519 AAAA..."',
        )
    run = _run(load_settings(home, config), copy, jobs, cached)
    with store_lock(run.shelf.root, "holdfast verify --repair") if repair else _unguarded():
        report = run.verify(names or (), limit, allowed_signers if signature else None)
        if repair and report.damage and not report.interrupted:
            run.repair(report)
    run.remember(report)
    _tell(report, json, repair)


def _tell(report: Report, json: bool, repaired: bool) -> None:
    """Raises KeyboardInterrupt where there was one, and Exit where damage stays."""
    if json:
        import orjson

        typer.echo(orjson.dumps(as_json(report), option=orjson.OPT_INDENT_2))
    else:
        typer.echo("\n".join(lines(report, repaired)))
    if report.interrupted:
        typer.echo("Stopped. The same command goes on with what was not read yet.", err=True)
        raise KeyboardInterrupt
    if report.damage:
        raise typer.Exit(DAMAGED)


def _run(settings: Settings, copy: Path | None, jobs: int | None, cached: bool) -> _Run:
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
    return _Run(settings, Shelf(root), Scrubbed(settings.state, root), jobs, cached)


@dataclass(slots=True)
class _Run:
    """One call of the verb."""

    settings: Settings
    shelf: Shelf
    memory: Scrubbed
    jobs: int
    cached: bool
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
        with contextlib.closing(checking):
            for one in checking:
                report.files += 1
                report.bytes += one.reading.bytes
                report.findings += one.findings
                for finding in one.findings:
                    work.say(f"{finding.kind}: {finding.name}")
                bad = {finding.key for finding in one.findings}
                self._good([claim.key for claim in one.reading.claims if claim.key not in bad])

    def repair(self, report: Report) -> None:
        from server import catalogue
        from server.cli.work import Work
        from server.store.donors import places, upstream
        from server.store.mending import mend
        from server.store.repair import Means

        loaded = catalogue.load(self.settings)
        sizes = [_size(self.shelf, finding) for finding in report.damage]
        with Work("repair", 2 * sum(sizes)) as work:

            def on_result(result: Result) -> None:
                if result.source is not None:
                    self._good([result.key])

            means = Means(
                places=places(self.settings, loaded.store.copies, self.shelf.root),
                upstream=upstream(self.settings, loaded),
                jobs=loaded.store.jobs,
                limit_rate=loaded.store.limit_rate,
                on_bytes=work.on_bytes,
                on_result=on_result,
            )
            mended = mend(self.shelf, report.findings, means, self._recheck)
        report.results = {result.key: result for result in mended.results}
        report.findings = list(mended.findings)
        report.damage = list(mended.damage)

    def _recheck(self, volume: Volume) -> list[Finding]:
        from server.store.verify import check, inspect

        seen = inspect([volume])
        found = list(seen.findings)
        for one in check(seen.readings, jobs=self.jobs, on_bytes=lambda count: None):
            found += one.findings
        return found

    def _good(self, keys: Sequence[str]) -> None:
        from server.store.receipt import now

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


def _size(shelf: Shelf, finding: Finding) -> int:
    volume = shelf.volume(finding.repository, finding.revision)
    held = volume.receipt.file(finding.path) if volume and volume.receipt else None
    return held.bytes if held else 0


@contextlib.contextmanager
def _unguarded() -> Iterator[None]:
    yield
