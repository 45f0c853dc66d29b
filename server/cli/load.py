"""`holdfast load`: have a model in memory before it is asked for."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli import admin
from server.cli.options import Config, Home, Json, load_settings
from server.units import format_duration

Model = Annotated[str, typer.Argument(metavar="MODEL", help="MODEL or MODEL:BUILD, as served.")]


def load(model: Model, json: Json = False, home: Home = None, config: Config = None) -> None:
    """Load a model that is served on demand; return when it is ready.

    What is idle and not pinned makes room for it. One that has failed is tried again. Asks the
    server of the same home over its admin socket.

    \b
    Examples:
      holdfast load qwen3.5-9b
      holdfast load qwen3.5-9b:q4_k_m
    """
    import orjson

    socket = load_settings(home, config).admin_socket
    body = admin.post(socket, "/admin/load", {"model": model}, timeout=None)
    if json:
        typer.echo(body)
        return
    engine = orjson.loads(body)
    seconds = format_duration(engine["load_seconds"])
    typer.echo(f"{engine['name']} is ready; its last load took {seconds}.")
