"""`holdfast store sign`: vouch for what the store holds with an SSH key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.held import Names, held
from server.cli.options import Config, Home, Json, load_settings


def sign(
    key: Annotated[
        Path,
        typer.Option("--key", help="An SSH private key, or the public one of a key in the agent."),
    ],
    names: Names = None,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Sign each revision's SHA256SUMS, which names every file and the receipt.

    The signature lies beside it as SHA256SUMS.sig. `holdfast verify --signature` checks it, and so
    does ssh-keygen alone. Sign what you have verified.

    \b
    Examples:
      holdfast store sign --key ~/.ssh/id_ed25519
      holdfast store sign Qwen/Qwen3.5-9B --key ~/.ssh/id_ed25519
    """
    from server.errors import StoreError
    from server.store.lock import store_lock
    from server.store.shelf import Shelf
    from server.store.signature import sign as sign_volume

    settings = load_settings(home, config)
    shelf = Shelf(settings.models)
    volumes = held(names, shelf, settings)
    if not volumes:
        raise StoreError("the store is empty", next_step="`holdfast pull` fills it")
    signed = []
    with store_lock(shelf.root, "holdfast store sign"):
        for volume in volumes:
            path = sign_volume(volume, key.expanduser())
            signed.append({"revision": f"{volume.repository}@{volume.revision}", "path": str(path)})
            if not json:
                typer.echo(f"Signed {volume.name}: {path}")
    if json:
        import orjson

        typer.echo(orjson.dumps(signed))
