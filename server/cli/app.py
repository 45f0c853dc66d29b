"""The verbs of the `holdfast` command, one module each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from server import __version__
from server.cli.check_config import check_config
from server.cli.doctor import doctor
from server.cli.keys import keys
from server.cli.load import load
from server.cli.mirror import mirror
from server.cli.plan import plan
from server.cli.ps import ps
from server.cli.pull import pull
from server.cli.reload import reload
from server.cli.route import route
from server.cli.serve import serve
from server.cli.store import store
from server.cli.unload import unload
from server.cli.usage import usage
from server.cli.verify import verify

app = typer.Typer(
    name="holdfast",
    help="Hold, place and serve the Qwen3.5 family behind one OpenAI endpoint.",
    epilog="Start with: holdfast serve",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _holdfast(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=None
    ),
) -> None:
    if version:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


def _verb(function: Callable[..., Any], name: str | None = None) -> None:
    app.command(name or function.__name__)(function)


for _function in (serve, doctor, plan, ps, load, unload, reload, pull, verify):
    _verb(_function)
_verb(check_config, "check-config")
app.add_typer(keys, name="keys")
app.add_typer(mirror, name="mirror")
app.add_typer(route, name="route")
app.add_typer(store, name="store")
app.add_typer(usage, name="usage")
