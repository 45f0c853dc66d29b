"""`holdfast store watch`: what became, at the hub, of what the store holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.held import Names, held
from server.cli.options import Config, Home, Json, load_settings

if TYPE_CHECKING:
    from server.store.watch import Sighting

NEWS = 7
UNREACHABLE = 6  # as HubError's exit code


def watch(
    names: Names = None,
    moved_ok: Annotated[
        bool, typer.Option("--moved-ok", help="A main that moved on is told, and no exit code 7.")
    ] = False,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Tell whether the hub still has what the store holds: moved, changed, or gone.

    Never changes what is held. For a timer: the exit code is 0 if there is nothing to tell, 7 if
    something moved on, changed under the same revision, or vanished, and 6 if the hub could not be
    asked about some of it and nothing else was to be told.

    \b
    Examples:
      holdfast store watch
      holdfast store watch --moved-ok --json
      holdfast store watch Qwen/Qwen3.5-9B
    """
    from server import catalogue
    from server.store import hub
    from server.store.hub import Hub
    from server.store.shelf import Shelf
    from server.store.watch import watch as sight

    settings = load_settings(home, config)
    volumes = held(names, Shelf(settings.models), settings)
    receipts = [volume.receipt for volume in volumes if volume.receipt is not None]
    endpoint = settings.hub_endpoint or catalogue.load(settings).store.hub or hub.ENDPOINT
    sightings = []
    for sighting in sight(receipts, Hub(endpoint, settings.hub_token, settings.offline)):
        sightings.append(sighting)
        if not json:
            typer.echo(line(sighting))
    if json:
        import orjson

        typer.echo(orjson.dumps([asdict(one) for one in sightings], option=orjson.OPT_INDENT_2))
    elif not receipts:
        typer.echo("The store holds nothing to watch yet.", err=True)
    if code := exit_code(sightings, moved_ok):
        raise typer.Exit(code)


def line(sighting: Sighting) -> str:
    return f"{sighting.state:12}{sighting.repository}@{sighting.revision[:12]}: {sighting.why}"


def exit_code(sightings: list[Sighting], moved_ok: bool) -> int:
    states = {sighting.state for sighting in sightings}
    if states & ({"changed", "gone"} | (set() if moved_ok else {"moved"})):
        return NEWS
    return UNREACHABLE if "unreachable" in states else 0
