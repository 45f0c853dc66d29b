"""`holdfast keys`: create, list, change and revoke API keys."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.columns import columns
from server.cli.keys.rules import as_json, rules
from server.cli.keys.terms import (
    Concurrency,
    Day,
    KeepText,
    LocalOnly,
    Models,
    Month,
    RoleName,
    Rpm,
    Team,
    TokensDay,
    TokensMonth,
    Tpm,
    changed,
)
from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError
from server.ledger.keys import ORDINARY, KeyBook

if TYPE_CHECKING:
    from server.ledger.keys import Key
    from server.settings import Settings

keys = typer.Typer(
    help="Create, list, change and revoke API keys.",
    epilog="As long as no key was ever created, requests from this machine need none.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@keys.command(
    epilog='Example: holdfast keys create laptop --team lab --day "5 USD" --model "qwen3.5-*"'
)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose or what the key is for.")],
    team: Team = None,
    role: RoleName = None,
    day: Day = None,
    month: Month = None,
    tokens_day: TokensDay = None,
    tokens_month: TokensMonth = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    model: Models = None,
    local_only: LocalOnly = None,
    keep_text: KeepText = None,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Create a key and print it, this once: only its hash is kept. Without options it has no limits
    of its own."""
    settings = load_settings(home, config)
    key, text = KeyBook(settings.keys_file).create(name, changed(ORDINARY, context.params))
    if json:
        import orjson

        typer.echo(orjson.dumps({"id": key.id, "name": key.name, "key": text}))
    else:
        typer.echo(text)
        typer.echo(f"Created key {key.id} ({key.name}). It is not shown again.", err=True)
    _tell_unknown(settings, key)


@keys.command("set", epilog="Example: holdfast keys set laptop --rpm 60 --day none --local-only")
def set_key(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key's name or id.")],
    team: Team = None,
    role: RoleName = None,
    day: Day = None,
    month: Month = None,
    tokens_day: TokensDay = None,
    tokens_month: TokensMonth = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    model: Models = None,
    local_only: LocalOnly = None,
    keep_text: KeepText = None,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Change what a key may do; its secret stays, and so does what is not named. "none" lifts a
    limit. Holds from the next request on."""
    settings = load_settings(home, config)
    held = KeyBook(settings.keys_file).change(key, lambda terms: changed(terms, context.params))
    _tell(held, f"Changed key {held.id} ({held.name}): {rules(held) or 'no limits'}.", json)
    _tell_unknown(settings, held)


@keys.command("list", epilog="Example: holdfast keys list --json")
def list_keys(json: Json = False, home: Home = None, config: Config = None) -> None:
    """List the keys, revoked ones too, without their secrets."""
    held = _book(home, config).all()
    if json:
        import orjson

        typer.echo(orjson.dumps([as_json(key) for key in held]))
        return
    if not held:
        typer.echo("No keys. `holdfast keys create NAME` makes one.", err=True)
        return
    rows = [("ID", "CREATED", "STATE", "ROLE", "TEAM", "NAME", "RULES")]
    rows += [
        (
            key.id,
            key.created,
            "revoked" if key.revoked else "live",
            key.role,
            key.team or "-",
            key.name,
            rules(key),
        )
        for key in held
    ]
    for line in columns(rows):
        typer.echo(line)


@keys.command(epilog="Example: holdfast keys revoke laptop")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's name or id.")],
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Revoke a key: from the next request on it is refused."""
    revoked = _book(home, config).revoke(key)
    _tell(revoked, f"Revoked key {revoked.id} ({revoked.name}).", json)


def _tell(key: Key, words: str, json: bool) -> None:
    """What became of it."""
    if json:
        import orjson

        typer.echo(orjson.dumps(as_json(key)))
    else:
        typer.echo(words, err=True)


def _tell_unknown(settings: Settings, key: Key) -> None:
    """What the key names and the configuration does not; of a wrong one `check-config` tells."""
    from server import catalogue
    from server.cli.cloud_advice import unknown_to

    with contextlib.suppress(ConfigError):
        for found in unknown_to(catalogue.load(settings), key):
            told = (found.what, found.consequence, found.next_step)
            typer.echo(f"{found.severity}: {'. '.join(filter(None, told))}.", err=True)


def _book(home: Home, config: Config) -> KeyBook:
    return KeyBook(load_settings(home, config).keys_file)
