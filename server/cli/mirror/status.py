"""`holdfast mirror status`: which places hold what, and whether they are enough."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from server.cli.mirror.sync import copies
from server.cli.options import Config, Home, Json, load_settings
from server.errors import HoldfastError

if TYPE_CHECKING:
    from server.settings import Settings
    from server.store.copies.copy import Copy, Inventory
    from server.store.copies.status import Holding, Standing

NOT_ENOUGH = 4  # as StoreError's exit code


def status(json: Json = False, home: Home = None, config: Config = None) -> None:
    """Show which places hold each revision, and when its files were last read back there.

    Looks at names and sizes; `holdfast mirror sync --verify` reads the bytes. The store itself
    counts as one place. The exit code is 0 if every file of every revision lies in as many places
    as [store] min_copies wants, and 4 if not.

    \b
    Examples:
      holdfast mirror status
      holdfast mirror status --json
    """
    from server import catalogue
    from server.store.copies.folder import Folder
    from server.store.copies.status import standings

    settings = load_settings(home, config)
    wanted = catalogue.load(settings).store.min_copies
    others = copies(home, config, ())
    found = standings([_own(settings), *(_look(copy, settings) for copy in others)], wanted)
    for copy in others:
        if isinstance(copy.place, Folder) and copy.place.shares_disk(settings.models):
            why = "both are lost together"
            typer.echo(f"{copy.address} is on the store's own disk: {why}.", err=True)
    if json:
        import orjson

        typer.echo(orjson.dumps({"min_copies": wanted, "revisions": found}))
    elif not found:
        typer.echo("No place holds anything yet.", err=True)
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        typer.echo("\n".join(table(found, wanted, colour)), color=colour)
    if not all(one.enough for one in found):
        raise typer.Exit(NOT_ENOUGH)


def table(standings: Sequence[Standing], wanted: int, colour: bool) -> list[str]:
    """A heading for each revision and a line for each place; what is not enough in red."""
    from server.units import format_bytes

    lines = []
    for one in standings:
        verdict = f"in {one.places} of at least {wanted} place{'' if wanted == 1 else 's'}"
        if colour and not one.enough:
            verdict = typer.style(verdict, fg="red", bold=True)
        name = f"{one.repository}@{one.revision[:12]}"
        lines.append(f"{name}  {one.files} files, {format_bytes(one.bytes)}, {verdict}")
        width = max(len(holding.address) for holding in one.holdings)
        lines += [
            f"  {holding.address:{width}}  {_state(holding, one)}" for holding in one.holdings
        ]
    return lines


def _state(holding: Holding, standing: Standing) -> str:
    text: str = holding.state
    if holding.state == "partial":
        text = f"{holding.files} of {standing.files} files"
    if holding.verified is not None and holding.files:
        text += f", read back {holding.verified:%Y-%m-%d %H:%M} UTC"
    return text


def _own(settings: Settings) -> Inventory:
    from server.store.copies.copy import inventory
    from server.store.copies.folder import Folder
    from server.store.copies.status import with_times
    from server.store.scrubbed import Scrubbed

    times = Scrubbed(settings.state, settings.models).times
    return with_times(inventory(Folder(settings.models)), times)


def _look(copy: Copy, settings: Settings) -> Inventory | str:
    from server.store.copies.folder import Folder
    from server.store.copies.status import with_times
    from server.store.scrubbed import Scrubbed

    try:
        there = copy.inventory()
    except HoldfastError as error:
        typer.echo(error.sentence, err=True)
        return copy.address
    for path in there.damaged:
        typer.echo(f"{copy.address}/{path} is damaged; a sync of its model mends it.", err=True)
    if isinstance(copy.place, Folder):  # `holdfast verify --copy` remembers it here
        return with_times(there, Scrubbed(settings.state, copy.place.root).times)
    return there
