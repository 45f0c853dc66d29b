"""`holdfast store`: what is held, and what is to be done with it."""

from __future__ import annotations

import typer

from server.cli.store.adopt import adopt
from server.cli.store.du import du
from server.cli.store.export import export
from server.cli.store.import_ import import_
from server.cli.store.ls import ls
from server.cli.store.rm import rm
from server.cli.store.sign import sign
from server.cli.store.watch import watch

store = typer.Typer(
    help="List, measure, remove, adopt, sign, watch, export and import what the store holds.",
    epilog="`holdfast pull` fills the store, `holdfast verify` proves it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
store.command()(ls)
store.command()(du)
store.command()(rm)
store.command()(adopt)
store.command()(sign)
store.command()(watch)
store.command()(export)
store.command("import")(import_)
