"""`holdfast store du`: what the store takes of the disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from server.cli.options import Config, Home, Json, load_settings

if TYPE_CHECKING:
    from server.store.shelf import Shelf
    from server.store.usage import Usage


def du(json: Json = False, home: Home = None, config: Config = None) -> None:
    """Show what the store takes of the disk, and what is free.

    SIZE is the files' own size; ON DISK is what they take: files that several revisions have in
    common are stored once and counted for the first of them. What reflinks share cannot be told
    from outside, and is counted twice.

    \b
    Examples:
      holdfast store du
      holdfast store du --json
    """
    import shutil

    from server.store.shelf import Shelf

    settings = load_settings(home, config)
    shelf = Shelf(settings.models)
    parts, total = measure(shelf)
    existing = next(path for path in (shelf.root, *shelf.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if json:
        import orjson

        rows = {name: asdict(part) for name, part in parts.items()}
        answer = {"root": str(shelf.root), "parts": rows, "total": asdict(total), "free": free}
        typer.echo(orjson.dumps(answer))
        return
    for line in report(parts, total, free):
        typer.echo(line)


def measure(shelf: Shelf) -> tuple[dict[str, Usage], Usage]:
    """The usage of each volume, of downloads and of what was set aside; and all together."""
    from server.store.usage import Seen, Usage, usage

    seen: Seen = set()
    parts = {volume.name: usage(volume.folder, seen) for volume in shelf.volumes()}
    for name, folder in (("downloads under way", ".incoming"), ("set aside", ".damaged")):
        part = usage(shelf.root / folder, seen)
        if part.files:
            parts[name] = part
    total = Usage(
        sum(part.files for part in parts.values()),
        sum(part.bytes for part in parts.values()),
        sum(part.disk for part in parts.values()),
    )
    return parts, total


def report(parts: dict[str, Usage], total: Usage, free: int) -> list[str]:
    from server.cli.columns import columns
    from server.units import format_bytes

    rows = [("WHAT", "FILES", "SIZE", "ON DISK")]
    rows += [
        (name, str(part.files), format_bytes(part.bytes), format_bytes(part.disk))
        for name, part in [*parts.items(), ("total", total)]
    ]
    return [*columns(rows, right=frozenset({1, 2, 3})), f"free on this disk: {format_bytes(free)}"]
