"""`holdfast usage renew`: a new ledger after a damaged one was set aside."""

from __future__ import annotations

import typer

from server.cli.options import Config, Home, load_settings


def renew(home: Home = None, config: Config = None) -> None:
    """Write a new ledger after a damaged one was set aside, with all that can be read of it.

    Until then no cloud is used, since nobody knows what is spent. A server that runs takes the new
    one within a second or so.

    \b
    Example: holdfast usage renew
    """
    from server.ledger.renewal import renew as write_anew

    done = write_anew(load_settings(home, config).ledger)
    typer.echo(f"Took over {done.entries} entries from {done.aside}.", err=True)
    if not done.complete:
        typer.echo(
            "Not all of it could be read: what was spent this month may be more than is known now.",
            err=True,
        )
