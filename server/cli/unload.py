"""`holdfast unload`: take a model out of memory."""

from __future__ import annotations

import typer

from server.cli import admin
from server.cli.load import Model
from server.cli.options import Config, Home, Json, load_settings


def unload(model: Model, json: Json = False, home: Home = None, config: Config = None) -> None:
    """End a model's engine once its running requests have finished; return when it is gone.

    The next request for it, or `holdfast load`, brings it back. Asks the server of the same home
    over its admin socket.

    \b
    Examples:
      holdfast unload qwen3.5-9b
    """
    import orjson

    socket = load_settings(home, config).admin_socket
    body = admin.post(socket, "/admin/unload", {"model": model}, timeout=None)
    typer.echo(body if json else f"{orjson.loads(body)['name']} is unloaded.")
