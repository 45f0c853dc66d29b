"""`holdfast reload`: have the running Holdfast read its configuration again."""

from __future__ import annotations

import typer

from server.cli import admin
from server.cli.options import Home, Json, load_settings


def reload(json: Json = False, home: Home = None) -> None:
    """Have the running Holdfast read its configuration files again, as SIGHUP does: those that its
    own --config or HOLDFAST_CONFIG name, else /etc/holdfast/models.toml where that is there.

    All or nothing: with a mistake in the files everything stays as it is, and the mistake is told.
    No request is dropped: engines that are to change finish what they are at first.

    \b
    Examples:
      holdfast check-config && holdfast reload
      holdfast reload --json
    """
    import orjson

    socket = load_settings(home, None).admin_socket
    body = admin.post(socket, "/admin/reload", {}, timeout=None)
    if json:
        typer.echo(body)
        return
    changes = orjson.loads(body)["changes"]
    for change in changes:
        typer.echo(change["sentence"])
    if not changes:
        typer.echo("Nothing has changed.")
