"""`holdfast verify`: read everything back, and mend what is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from server.cli.held import Names
from server.cli.options import Config, Home, Json, load_settings
from server.cli.verify_report import Report, as_json, lines
from server.errors import ConfigError

DAMAGED = 4  # as StoreError's exit code

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
    from server.cli.verify_run import prepare
    from server.store.lock import store_lock
    from server.store.scrub import Budget, parse_budget

    limit = parse_budget(budget) if budget else Budget()
    if signature and allowed_signers is None:
        raise ConfigError(
            "--signature needs --allowed-signers",
            next_step='Name a file with lines such as "you@example.org ssh-ed25519 AAAA..."',
        )
    run = prepare(load_settings(home, config), copy, jobs, cached)
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
        typer.echo("Stopped. The same command goes on with what is left.", err=True)
        raise KeyboardInterrupt
    if report.damage:
        raise typer.Exit(DAMAGED)


@contextlib.contextmanager
def _unguarded() -> Iterator[None]:
    yield
