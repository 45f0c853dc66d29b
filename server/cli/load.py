"""`holdfast load`: have a model in memory before it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli import admin
from server.cli.options import Config, Home, Json, load_settings
from server.cli.waiting import Waiting
from server.units import format_duration

Model = Annotated[str, typer.Argument(metavar="MODEL", help="MODEL or MODEL:BUILD, as served.")]


def load(model: Model, json: Json = False, home: Home = None, config: Config = None) -> None:
    """Load a model that is served on demand; return when it is ready.

    What is idle and not pinned makes room for it. One that has failed is tried again. Meanwhile it
    is shown how far it is, or what it waits for. Ctrl-C ends the waiting only: the model goes on
    loading, and `holdfast unload` ends that. Asks the server of the same home over its admin
    socket.

    \b
    Examples:
      holdfast load qwen3.5-9b
      holdfast load qwen3.5-9b:q4_k_m --json
    """
    socket = load_settings(home, config).admin_socket
    left = f"{model} goes on loading: `holdfast unload {model}` ends that"
    engine = followed(socket, "/admin/load", model, left)
    if json:
        show(engine)
    else:
        seconds = format_duration(engine["load_seconds"])
        typer.echo(f"{engine['name']} is ready; its last load took {seconds}.")


def followed(socket: Path, route: str, model: str, left: str) -> dict[str, Any]:
    """What becomes of `model`; how far it is, is shown meanwhile. Who does not want to wait for it
    is told what is `left` behind."""
    try:
        with Waiting() as waiting:
            for event in admin.follow(socket, route, {"model": model}):
                if "done" in event:
                    return dict(event["done"])
                waiting.tell(event)
    except KeyboardInterrupt:
        print(f"holdfast: {left}.", file=sys.stderr)
        raise
    raise AssertionError("what is followed ends, or fails")


def show(engine: dict[str, Any]) -> None:
    """Print an engine as JSON."""
    import orjson

    typer.echo(orjson.dumps(engine))
