"""`holdfast unload`: take a model out of memory."""

from __future__ import annotations

import typer

from server.cli.load import Model, followed, show
from server.cli.options import Config, Home, Json, load_settings


def unload(model: Model, json: Json = False, home: Home = None, config: Config = None) -> None:
    """End a model's engine once its running requests have finished; return when it is gone.

    The next request for it, or `holdfast load`, brings it back. Ctrl-C ends the waiting only. Asks
    the server of the same home over its admin socket.

    \b
    Examples:
      holdfast unload qwen3.5-9b
    """
    socket = load_settings(home, config).admin_socket
    left = f"{model} still ends when its requests have finished"
    engine = followed(socket, "/admin/unload", model, left)
    if json:
        show(engine)
    else:
        typer.echo(f"{engine['name']} is unloaded.")
