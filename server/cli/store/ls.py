"""`holdfast store ls`: what the store holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from server.cli.held import Names, held
from server.cli.options import Config, Home, Json, load_settings

if TYPE_CHECKING:
    from server.catalogue import Catalogue
    from server.store.shelf import Volume

_HEADINGS = ("REPOSITORY", "REVISION", "FILES", "SIZE", "FETCHED", "STATE", "SERVES")


def ls(
    names: Names = None,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """List what the store holds: each revision, its size, and which builds it serves.

    STATE is `whole` when every file of the receipt is there with its size; `holdfast verify` looks
    at the bytes themselves. A folder `without receipt` was put there by hand.

    \b
    Examples:
      holdfast store ls
      holdfast store ls qwen3.5-9b
      holdfast store ls Qwen/Qwen3.5-9B --json
    """
    from server import catalogue
    from server.store.shelf import Shelf

    settings = load_settings(home, config)
    known = catalogue.load(settings)
    shelf = Shelf(settings.models)
    volumes = held(names, shelf, settings)
    if json:
        import orjson

        typer.echo(orjson.dumps([_row(volume, known) for volume in volumes]))
        return
    if not volumes:
        typer.echo(f"{shelf.root} holds nothing yet. `holdfast pull` fills it.", err=True)
    for line in report([_row(volume, known) for volume in volumes]):
        typer.echo(line)


def report(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The rows as aligned lines, a heading first; what is wrong with some of them below."""
    from server.cli.columns import columns
    from server.units import format_bytes

    if not rows:
        return
    cells = [
        (
            row["repository"],
            row["revision"][:12],
            str(row["files"]),
            format_bytes(row["bytes"]),
            row["fetched"][:10] if row["fetched"] else "-",
            row["state"],
            ", ".join(row["builds"]) or "-",
        )
        for row in rows
    ]
    yield from columns([_HEADINGS, *cells], right=frozenset({2, 3}))
    for row in rows:
        if row["problem"]:
            yield f"{row['repository']}@{row['revision'][:12]}: {row['problem']}"


def _row(volume: Volume, catalogue: Catalogue) -> dict[str, Any]:
    from server.store.choice import builds_in
    from server.store.usage import missing, usage

    receipt = volume.receipt
    absent = missing(volume)
    if receipt is None:
        state = "damaged receipt" if volume.problem else "without receipt"
        there = usage(volume.folder)
        files, size = there.files, there.bytes
    else:
        state = "incomplete" if absent else "whole"
        files, size = len(receipt.files), receipt.bytes
    count = "1 file is" if len(absent) == 1 else f"{len(absent)} files are"
    lacking = f"{count} missing or of another size: {', '.join(absent[:3])}"
    return {
        "repository": volume.repository,
        "revision": volume.revision,
        "folder": str(volume.folder),
        "files": files,
        "bytes": size,
        "fetched": receipt.fetched.strftime("%Y-%m-%dT%H:%M:%SZ") if receipt else None,
        "source": receipt.source if receipt else None,
        "licence": receipt.licence if receipt else None,
        "state": state,
        "missing": absent,
        "problem": lacking if absent else volume.problem,
        "builds": [build.name for build in builds_in(volume, catalogue)],
    }
