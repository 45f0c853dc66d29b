"""`holdfast ps`: what the running server's engines do."""

from __future__ import annotations

from typing import Any

import typer

from server.cli import admin
from server.cli.columns import columns
from server.cli.options import Config, Home, Json, load_settings
from server.units import format_bytes, format_duration

_HEADING = (
    "MODEL", "STATE", "WHERE", "PID", "SLOTS", "QUEUE", "CONTEXT", "PREDICTED", "ACTUAL", "TOK/S",
    "FOR", "RESTARTS",
)  # fmt: skip


def ps(json: Json = False, home: Home = None, config: Config = None) -> None:
    """Show what runs: each engine, where, its state, slots, queue, memory, speed and last error;
    below that the clouds that are left alone just now, and what is wrong with the ledger.

    PREDICTED and ACTUAL are bytes of memory on all its devices together; TOK/S is what one request
    has got on average since the engine was started. Asks the server of the same home over its admin
    socket.

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
    told = orjson.loads(body)
    for line in (*table(told["engines"]), *map(_cloud, told["clouds"])):
        typer.echo(line)
    if alarm := told["ledger"]["alarm"]:
        typer.echo(f"ledger: {alarm}")


def table(engines: list[dict[str, Any]]) -> list[str]:
    """The engines as aligned lines of text, a heading first, then what is to be said of each."""
    rows = [_HEADING, *map(_row, engines)]
    return columns(rows) + [line for engine in engines for line in _remarks(engine)]


def state(engine: dict[str, Any]) -> str:
    """Its state in words: `starting 40%`, `waits`, `pinned`."""
    words = [engine["state"]]
    if engine["state"] == "starting" and engine["progress"] is not None:
        words.append(f"{engine['progress']:.0%}")
    elif engine["waits_for"]:
        words = ["waits"]
    if engine["pinned"]:
        words.append("(pinned)")
    return " ".join(words)


def _row(engine: dict[str, Any]) -> tuple[str, ...]:
    actual, decode = engine["actual"], engine["decode"]
    return (
        engine["name"],
        state(engine),
        ", ".join("RAM" if device == "ram" else device for device in engine["devices"]),
        str(engine["pid"] or "-"),
        f"{engine['running']}/{engine['slots']}",
        str(engine["waiting"]),
        str(engine["context"]),
        format_bytes(sum(engine["predicted"].values())),
        format_bytes(sum(actual.values())) if actual else "-",
        f"{decode:.1f}" if decode else "-",
        format_duration(engine["seconds"]),
        str(engine["restarts"]),
    )


def _cloud(told: dict[str, str]) -> str:
    reason = f" ({told['last_error']})" if told["last_error"] else ""
    return f"{told['name']}: {told['down']}{reason}"


def _remarks(engine: dict[str, Any]) -> list[str]:
    name = engine["name"]
    found = []
    if engine["waits_for"]:
        found.append(f"{name} waits for {engine['waits_for']}")
    if engine["steps_down"]:
        found.append(
            f"{name} had too little memory and runs with {', '.join(engine['steps_down'])}"
        )
    if engine["left_alone"]:
        found.append(f"{name}: {engine['left_alone']}")
    if engine["last_error"]:
        found.append(f"{name}: {engine['last_error']}")
    return found
