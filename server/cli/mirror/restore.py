"""`holdfast mirror restore`: get the store back from a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.held import Names
from server.cli.mirror.report import files, label
from server.cli.mirror.sync import Jobs, copies
from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, HoldfastError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.catalogue import Catalogue
    from server.store.copies.copy import Copy, Inventory
    from server.store.copies.restore import Return
    from server.store.receipt import Held, Receipt
    from server.store.shelf import Shelf


def restore(
    names: Names = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="The copy: a folder or s3://bucket/prefix [default: the one configured]."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be brought.")
    ] = False,
    jobs: Jobs = 2,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Bring back from one copy what the store lacks, receipts and signatures included.

    The home may be empty. Every file is read back and compared before a revision becomes visible.
    Stopped or killed, the same command goes on where it was. The exit code is 0 if all is there
    now, 6 if the copy cannot be reached, and 4 if something else failed.

    \b
    Examples:
      holdfast mirror restore --from /mnt/nas/holdfast
      holdfast mirror restore Qwen/Qwen3.5-9B --from s3://bucket/holdfast --dry-run
    """
    from server import catalogue
    from server.store.copies.restore import plan
    from server.store.copies.staging import require_space
    from server.store.shelf import Shelf

    settings = load_settings(home, config)
    shelf = Shelf(settings.models)
    copy = _copy(home, config, from_)
    known = catalogue.load(settings)
    there = copy.inventory()
    for path in there.damaged:
        typer.echo(f"{copy.address}/{path} is damaged: this revision is left out.", err=True)
    comings = plan(
        shelf, there, [one for name in names or () for one in _meant(name, there, known)]
    )
    if not dry_run:
        require_space(shelf, sum(one.bytes for one in comings), known.store.reserve)
    problems = [] if dry_run else _run(shelf, copy, comings, jobs)
    if json:
        import orjson

        typer.echo(orjson.dumps([_as_json(one, problems) for one in comings]))
    else:
        for one in comings:
            typer.echo(_line(one, dry_run, label(one.receipt) in {name for name, _ in problems}))
    codes = [error.exit_code for _, error in problems]
    if codes or there.damaged:
        raise typer.Exit(max(codes, default=StoreError.exit_code))


def _copy(home: Home, config: Config, address: str | None) -> Copy:
    found = copies(home, config, [address] if address else ())
    if len(found) > 1:
        raise ConfigError(
            "several copies are configured",
            problems=tuple(copy.address for copy in found),
            next_step="Choose one with --from",
        )
    return found[0]


def _meant(name: str, there: Inventory, known: Catalogue) -> Sequence[str]:
    """The repositories of the copy that a model's name means; any other name is left as it is."""
    if "/" in name or name.lower().partition(":")[0] not in known.models:
        return [name]
    model, build = known.resolve(name.lower())
    ids = {one.repository for one in (model.builds if build is None else (build,))}
    return sorted({one.repository for one in there.receipts.values()} & ids) or [name]


def _run(
    shelf: Shelf, copy: Copy, comings: Sequence[Return], jobs: int
) -> list[tuple[str, HoldfastError]]:
    """What went wrong, by revision."""
    from server.cli.work import Work
    from server.store.copies.restore import restore
    from server.store.lock import store_lock

    problems: list[tuple[str, HoldfastError]] = []

    def on_done(receipt: Receipt, held: Held | None, error: HoldfastError | None) -> None:
        if error is not None:
            problems.append((label(receipt), error))
            work.say(f"{label(receipt)}: {held.path + ': ' if held else ''}{error.sentence}")

    total = 2 * sum(one.bytes for one in comings)
    try:
        with (
            store_lock(shelf.root, "holdfast mirror restore"),
            Work(copy.address, total) as work,
        ):
            restore(shelf, copy, comings, jobs=jobs, on_bytes=work.on_bytes, on_done=on_done)
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise
    return problems


def _line(one: Return, dry_run: bool, failed: bool) -> str:
    from server.units import format_bytes

    if failed:
        return f"{label(one.receipt)}: not restored"
    if not one.is_needed:
        return f"{label(one.receipt)}: nothing to do"
    count = files(len(one.wanted) + len(one.here.staged))
    verb = "to bring" if dry_run else "restored"
    return f"{label(one.receipt)}: {count} ({format_bytes(one.bytes)}) {verb}"


def _as_json(one: Return, problems: list[tuple[str, HoldfastError]]) -> dict[str, object]:
    return {
        "repository": one.receipt.repository,
        "revision": one.receipt.revision,
        "files": [held.path for held in one.wanted],
        "bytes": one.bytes,
        "lost": [held.path for held in one.lost],
        "problems": [error.sentence for name, error in problems if name == label(one.receipt)],
    }
