"""`holdfast mirror sync`: bring the copies up to the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.held import Names, held
from server.cli.mirror.report import Report, as_json, label, lines
from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, HoldfastError, StoreError

if TYPE_CHECKING:
    from server.settings import Settings
    from server.store.copies.copy import Copy
    from server.store.copies.sync import Done, Original

Jobs = Annotated[int, typer.Option("--jobs", min=1, max=64, help="Files at a time.")]


def sync(
    names: Names = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Only to this copy; may be repeated [default: all]."),
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Make the places copies that are none yet.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read back what lies there already as well.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be sent.")
    ] = False,
    jobs: Jobs = 2,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Send to each copy what it lacks, and read everything new back from there.

    Nothing is removed from a copy. Stopped or killed, the same command goes on where it was. With
    --verify, a file that is damaged there is sent again. The exit code is 0 if all went well, 6 if
    a copy cannot be reached, and 4 if something else failed.

    \b
    Examples:
      holdfast mirror sync --init             the first time: the places must exist
      holdfast mirror sync
      holdfast mirror sync Qwen/Qwen3.5-9B --to /mnt/nas/holdfast
      holdfast mirror sync --verify           also finds what rotted there, and mends it
    """
    settings = load_settings(home, config)
    originals = chosen(settings, names)
    reports = []
    for copy in copies(home, config, to or ()):
        report = Report(copy.address)
        reports.append(report)
        try:
            _prepare(copy, report, originals, init and not dry_run, verify)
            if not dry_run:
                _run(copy, report, jobs)
        except HoldfastError as error:
            typer.echo(report.add(error), err=True)
        if not json:
            for line in lines(report, dry_run):
                typer.echo(line)
    if json:
        import orjson

        typer.echo(orjson.dumps([as_json(report) for report in reports]))
    if code := max(report.exit_code for report in reports):
        raise typer.Exit(code)


def copies(home: Home, config: Config, only: Sequence[str]) -> list[Copy]:
    """The configured copies, or those named.

    Raises ConfigError if there are none, or if one of them is the store itself.
    """
    from server import catalogue
    from server.store.copies.copy import open_copy
    from server.store.copies.folder import Folder

    settings = load_settings(home, config)
    addresses = tuple(only) or catalogue.load(settings).store.copies
    if not addresses:
        raise ConfigError(
            "no copies are configured",
            problems=("[store] copies is empty",),
            next_step='Name them in a file for --config: [store] copies = ["/mnt/nas/holdfast"]',
        )
    found = [open_copy(address) for address in addresses]
    for copy in found:
        if isinstance(copy.place, Folder) and copy.place.is_in(settings.models):
            raise ConfigError(
                f"{copy.address} is no copy: it is the store itself, or in it",
                next_step="Name a folder on another disk in [store] copies or --to",
            )
    return found


def chosen(settings: Settings, names: Sequence[str] | None) -> list[Original]:
    """The store's revisions of these names, or all. Raises StoreError for an unknown name."""
    from server.store.copies.sync import original
    from server.store.shelf import Shelf

    found = []
    for volume in held(names, Shelf(settings.models), settings):
        if volume.receipt is not None:
            found.append(original(volume.receipt, volume.folder))
        else:
            why = volume.problem or "it has no receipt (`holdfast store adopt` gives it one)"
            typer.echo(f"Left out: {volume.name}: {why}", err=True)
    return found


def _prepare(
    copy: Copy, report: Report, originals: Sequence[Original], init: bool, verify: bool
) -> None:
    from server.store.copies.sync import plan, require_space

    if init and copy.initialize():
        typer.echo(f"{copy.address} is a copy now.", err=True)
    there = copy.inventory()
    for path in there.damaged:
        typer.echo(f"{copy.address}/{path} is damaged; a sync of its model mends it.", err=True)
    report.errands = [plan(one, there, check=verify) for one in originals]
    for errand in report.errands:
        for problem in errand.problems:
            error = StoreError(problem, next_step="See `holdfast mirror status`")
            typer.echo(report.add(error, f"{copy.address}: {label(errand.receipt)}"), err=True)
    require_space(copy, report.errands)


def _run(copy: Copy, report: Report, jobs: int) -> None:
    from server.cli.work import Work
    from server.store.copies.sync import carry_out

    def on_done(done: Done) -> None:
        report.done.append(done)
        what = f"{label(done.errand.receipt)}: {done.step.held.path}"
        if done.error is not None:
            work.say(report.add(done.error, what))
        elif done.mended:
            work.say(f"{what} was damaged in {copy.address}, and was sent again.")

    total = sum(errand.work for errand in report.errands)
    try:
        with copy.place.lock("holdfast mirror sync"), Work(copy.address, total) as work:
            carry_out(copy, report.errands, jobs=jobs, on_bytes=work.on_bytes, on_done=on_done)
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise
