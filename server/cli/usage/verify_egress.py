"""`holdfast usage verify-egress`: whether the log of what left is as it was written."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, LedgerUnavailable


def verify_egress(
    known: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="HEX",
            help="A head that was printed earlier: the log must begin with what it stood for.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Check the log of what left: no row was changed, removed, inserted or moved.

    Prints the log's head, which stands for all of it. Kept elsewhere and given back with --head, it
    shows even a log that someone with the ledger's secret wrote anew. Exits 3 at a fault, and names
    the first.

    \b
    Examples:
      holdfast usage verify-egress
      holdfast usage verify-egress --head 5d0c...
    """
    import orjson

    from server.ledger import egress_log, statement
    from server.ledger.companions import read_secret

    known = _checked(known)
    path = load_settings(home, config).ledger
    with statement.reading(path) as book:
        rows = list(statement.departures(book))
        head = statement.head(book)
    try:
        secret = read_secret(path)
    except OSError as error:
        raise LedgerUnavailable(
            f"the secret of the ledger {path} cannot be read",
            why=f"{error.filename}: {error.strerror}",
            next_step="Without it nothing can be verified: restore it from a backup",
        ) from error
    fault = egress_log.verify(secret, rows, head)
    if fault is None and known is not None and not egress_log.stood_for(secret, rows, known):
        fault = egress_log.Fault(0, "the log does not begin with what the given head stood for")
    if json:
        told = fault and {"seq": fault.seq, "what": fault.what}
        typer.echo(orjson.dumps({"rows": len(rows), "head": head, "fault": told}))
        if fault:
            raise typer.Exit(LedgerUnavailable.exit_code)
        return
    if fault:
        raise LedgerUnavailable(
            "the log of what left is not as it was written",
            why=fault.what,
            next_step="`holdfast usage egress` lists its rows; compare it with a backup",
        )
    count = f"{len(rows)} row" if len(rows) == 1 else f"{len(rows)} rows"
    typer.echo(f"{count}: none was changed, removed, inserted or moved.")
    typer.echo(f"head {head}")


def _checked(head: str | None) -> str | None:
    """Raises ConfigError for what never was a head: it says nothing of the log."""
    if head is None or re.fullmatch(r"[0-9a-f]{64}", head := head.strip().lower()):
        return head
    raise ConfigError(
        f"--head {head[:80]!r} is no head of a log",
        next_step="Give all 64 digits that an earlier verify-egress printed",
    )
