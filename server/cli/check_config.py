"""`holdfast check-config`: what the configuration files come to, or what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError
from server.units import format_bytes, format_duration

if TYPE_CHECKING:
    from server.catalogue import Build, Catalogue, Serve, ServedModel, Store
    from server.hardware import Finding
    from server.providers.secrets import Absence

_HEADINGS = ("BUILD", "ENGINE", "FORMAT", "SIZE", "REVISION", "NOT YET KNOWN", "FROM")


def check_config(json: Json = False, home: Home = None, config: Config = None) -> None:
    """Read the configuration and show what it comes to.

    Every problem is told, one a line, with file, key, value and the valid choices; the exit code is
    then 2. What is not wrong but worth knowing stands at the end, such as a provider without a key.

    Examples:  holdfast check-config --config my.toml   |   holdfast check-config --json
    """
    from server.catalogue import load
    from server.cli.cloud_advice import look

    settings = load_settings(home, config)
    try:
        catalogue = load(settings)
    except ConfigError as error:
        _tell_problems(error, json)
        raise typer.Exit(error.exit_code) from None
    absences, notes = look(catalogue, settings)
    if json:
        whole = {"ok": True, "problems": [], "notes": notes, "without_key": absences}
        typer.echo(_json({**whole, "catalogue": catalogue}))
    elif sys.stdout.isatty():
        _show(catalogue, absences, notes)
    else:
        for line in report(catalogue, absences, notes):
            typer.echo(line)


def report(
    catalogue: Catalogue,
    absences: Mapping[str, Absence] | None = None,
    notes: tuple[Finding, ...] = (),
) -> Iterator[str]:
    """The catalogue as plain lines: files, builds and clouds as aligned columns, then each table.

    `absences`: of the providers that have no key.
    """
    from server.cli.routing_lines import CLOUD_HEADINGS, cloud_rows, routing_lines

    for source in catalogue.sources:
        yield f"read {source}"
    yield ""
    yield from _aligned([_HEADINGS, *(row(build) for build in _builds(catalogue))])
    yield ""
    clouds = [line for model in catalogue.clouds.values() for line in cloud_rows(model)]
    if clouds:
        yield from _aligned([CLOUD_HEADINGS, *clouds])
        yield ""
    for key, value in serve_lines(catalogue.serve).items():
        yield f"serve.{key} = {value}"
    for key, value in store_lines(catalogue.store).items():
        yield f"store.{key} = {value}"
    for key, value in routing_lines(catalogue, absences or {}).items():
        yield f"{key} = {value}"
    if notes:
        yield ""
    for note in notes:
        yield f"{note.severity}: {_sentences(note)}"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _sentences(note: Finding) -> str:
    return " ".join(f"{text}." for text in (note.what, note.consequence, note.next_step) if text)


def row(build: Build) -> tuple[str, ...]:
    """A build as text, one cell for each heading."""
    size = build.weights_bytes
    if build.path is not None:
        place, unknown = str(build.path), "" if build.path.exists() else "file is absent"
        size = build.path.stat().st_size if build.path.is_file() else size
    else:
        place, unknown = build.repository or "", ", ".join(build.unknown)
    return (
        build.name,
        build.engine,
        build.format,
        format_bytes(size) if size else "-",
        build.revision[:12] if build.revision else "-",
        unknown or "-",
        place,
    )


def serve_lines(serve: Serve) -> Mapping[str, str]:
    """`[serve]` with its units, and what an absent value means."""
    tables = "" if serve.auto else ", ".join(table.name for table in serve.model)
    never = "never, unless memory is needed"
    return {
        "host": serve.host,
        "port": str(serve.port),
        "models": ", ".join(serve.models) or tables or "the best in the store, else the demo",
        "context": str(serve.context) if serve.context else "as long as model and memory allow",
        "slots": str(serve.slots) if serve.slots else "chosen from the memory",
        "keep_alive": never if serve.keep_alive is None else format_duration(serve.keep_alive),
        "preload": ", ".join(serve.preload) or "what the plan keeps resident",
        "sleep": "yes" if serve.sleep else "no",
        "queue": f"{serve.queue} requests",
        "queue_timeout": format_duration(serve.queue_timeout),
        "drain_timeout": format_duration(serve.drain_timeout),
        "load_timeout": format_duration(serve.load_timeout),
        "max_body": format_bytes(serve.max_body),
        **{f"model[{table.name}]": _wanted(table) for table in serve.model},
    }


def _wanted(table: ServedModel) -> str:
    """A `[[serve.model]]` table in a line; what it leaves open is not named."""
    parts = [f"weight {table.weight:g}"]
    parts += [f"context {table.context} or more"] if table.context else []
    parts += [f"{table.slots} slots"] if table.slots else []
    parts += [f"{table.speed:g} tokens/s or more"] if table.speed else []
    parts += [f"on {' or '.join(table.engines)}"] if table.engines else []
    parts += ["always resident"] if table.pin else []
    parts += ["makes embeddings"] if table.embeddings else []
    parts += (
        [f"unloaded when idle for {format_duration(table.ttl)}"] if table.ttl is not None else []
    )
    return ", ".join(parts)


def store_lines(store: Store) -> Mapping[str, str]:
    """`[store]` with its units, and what an absent value means."""
    rate = f"{format_bytes(store.limit_rate)}/s" if store.limit_rate else "as fast as it comes"
    return {
        "copies": ", ".join(store.copies) or "none",
        "min_copies": f"{store.min_copies}, the store itself included",
        "jobs": f"{store.jobs} connections",
        "limit_rate": rate,
        "window": store.window or "always",
        "reserve": format_bytes(store.reserve),
        "sources": ", ".join(store.sources),
        "hub": store.hub or "$HF_ENDPOINT, else https://huggingface.co",
    }


def _builds(catalogue: Catalogue) -> Iterator[Build]:
    for model in catalogue.models.values():
        yield from model.builds


def _tell_problems(error: ConfigError, json: bool) -> None:
    if json:
        typer.echo(_json({"ok": False, "problems": error.problems}))
        return
    for problem in error.problems:
        typer.echo(problem)
    typer.echo(f"holdfast: {error.what}.", err=True)


def _show(
    catalogue: Catalogue, absences: Mapping[str, Absence], notes: tuple[Finding, ...]
) -> None:
    """The report for a terminal: the same, as tables that follow its width."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from server.cli.routing_lines import CLOUD_HEADINGS, cloud_rows, routing_lines

    console = Console()
    for source in catalogue.sources:
        console.print(f"read {source}", style="dim", markup=False, highlight=False)
    table = Table(*_HEADINGS, box=None, header_style="bold", pad_edge=False)
    table.columns[_HEADINGS.index("SIZE")].justify = "right"
    for model in catalogue.models.values():
        table.add_row(f"[bold]{model.title}[/]", *[""] * (len(_HEADINGS) - 1))
        for build in model.builds:
            table.add_row(*row(build))
    console.print(table)
    clouds = Table(*CLOUD_HEADINGS, box=None, header_style="bold", pad_edge=False)
    for column in clouds.columns[1:-2]:
        column.justify = "right"
    for cloud in catalogue.clouds.values():
        for cells in cloud_rows(cloud):
            clouds.add_row(*cells)
    console.print(clouds)
    tables = {
        "SERVE": serve_lines(catalogue.serve),
        "STORE": store_lines(catalogue.store),
        "ROUTING": routing_lines(catalogue, absences),
    }
    for heading, lines in tables.items():
        settings = Table(heading, "", box=None, header_style="bold", pad_edge=False)
        for key, value in lines.items():
            settings.add_row(escape(key), escape(value))
        console.print(settings)
    for note in notes:
        style = "yellow" if note.severity == "warning" else "cyan"
        console.print(f"[{style}]{note.severity}[/]: {escape(_sentences(note))}", highlight=False)


def _json(value: object) -> str:
    import orjson

    def plain(other: object) -> object:
        if isinstance(other, frozenset):
            return sorted(other)
        return dict(other) if isinstance(other, Mapping) else str(other)

    return orjson.dumps(value, default=plain, option=orjson.OPT_INDENT_2).decode()
