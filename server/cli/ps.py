"""`holdfast ps`: what the running server's engines do."""

from __future__ import annotations

from typing import Any

import typer

from server.cli import admin
from server.cli.options import Config, Home, Json, load_settings


def ps(json: Json = False, home: Home = None, config: Config = None) -> None:
    """Show what runs: each engine, its state, slots, queue, memory and last error.

    Asks the server of the same home over its admin socket.

    \b
    Examples:
      holdfast ps
      holdfast ps --json
    """
    import orjson

    body = admin.get(load_settings(home, config).admin_socket, "/admin/ps")
    if json:
        typer.echo(body)
        return
    for line in table(orjson.loads(body)["engines"]):
        typer.echo(line)


def table(engines: list[dict[str, Any]]) -> list[str]:
    """The engines as aligned lines of text, a heading first."""
    from server.units import format_bytes, format_duration

    rows = [("MODEL", "STATE", "PID", "SLOTS", "QUEUE", "CONTEXT", "RSS", "FOR", "RESTARTS")]
    for engine in engines:
        progress = engine["progress"]
        loading = engine["state"] == "starting" and progress is not None
        rows.append(
            (
                engine["name"],
                engine["state"] + (f" {progress:.0%}" if loading else ""),
                str(engine["pid"] or "-"),
                f"{engine['running']}/{engine['slots']}",
                str(engine["waiting"]),
                str(engine["context"]),
                format_bytes(engine["rss"]) if engine["rss"] else "-",
                format_duration(engine["seconds"]),
                str(engine["restarts"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"{e['name']}: {e['last_error']}" for e in engines if e["last_error"]]
    return lines
