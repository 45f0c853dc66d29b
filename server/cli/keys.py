"""`holdfast keys`: create, list and revoke API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.ledger.keys import KeyBook

keys = typer.Typer(
    help="Create, list and revoke API keys.",
    epilog="As long as no key was ever created, requests from this machine need none.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@keys.command(epilog="Example: holdfast keys create laptop")
def create(
    name: Annotated[str, typer.Argument(help="Whose or what the key is for.")],
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Create a key and print it, this once: only its hash is kept."""
    key, text = _book(home, config).create(name)
    if json:
        import orjson

        typer.echo(orjson.dumps({"id": key.id, "name": key.name, "key": text}))
        return
    typer.echo(text)
    typer.echo(f"Created key {key.id} ({key.name}). It is not shown again.", err=True)


@keys.command("list", epilog="Example: holdfast keys list --json")
def list_keys(json: Json = False, home: Home = None, config: Config = None) -> None:
    """List the keys, revoked ones too, without their secrets."""
    held = _book(home, config).all()
    if json:
        import orjson

        fields = ("id", "name", "created", "revoked")
        typer.echo(orjson.dumps([{field: getattr(key, field) for field in fields} for key in held]))
        return
    if not held:
        typer.echo("No keys. `holdfast keys create NAME` makes one.", err=True)
        return
    typer.echo(f"{'ID':10}{'CREATED':27}{'STATE':10}NAME")
    for key in held:
        state = "revoked" if key.revoked else "live"
        typer.echo(f"{key.id:10}{key.created:27}{state:10}{key.name}")


@keys.command(epilog="Example: holdfast keys revoke laptop")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's name or id.")],
    home: Home = None,
    config: Config = None,
) -> None:
    """Revoke a key: from the next request on it is refused."""
    revoked = _book(home, config).revoke(key)
    typer.echo(f"Revoked key {revoked.id} ({revoked.name}).", err=True)


def _book(home: Home, config: Config) -> KeyBook:
    return KeyBook(load_settings(home, config).keys_file)
