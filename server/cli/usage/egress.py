"""`holdfast usage egress`: what left this machine, where to, and for which key."""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, Json, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.ledger.egress_log import Departure


def egress(
    last: Annotated[
        int, typer.Option("--last", min=1, metavar="N", help="So many, the latest.")
    ] = 50,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """List what left for clouds: when, which request, for which key, where to, how much.

    Of a body only its length and its HMAC are kept, nothing that was said. A row is written before
    the request is sent: each that left has one.

    \b
    Examples:
      holdfast usage egress
      holdfast usage egress --last 1000 --json
    """
    from collections import deque
    from dataclasses import asdict

    import orjson

    from server.ledger import statement

    with statement.reading(load_settings(home, config).ledger) as book:
        rows = deque(statement.departures(book), maxlen=last)
    if json:
        typer.echo(orjson.dumps([asdict(row) for row in rows], default=str))
        return
    if not rows:
        typer.echo("Nothing has left this machine.", err=True)
        return
    for line in listing(rows):
        typer.echo(line)


def listing(rows: Sequence[Departure]) -> list[str]:
    from server.cli.columns import columns

    lines = [("ROW", "TIME (UTC)", "KEY", "HOST", "MODEL", "SIZE", "REQUEST", "BODY HMAC")]
    return columns(lines + [_cells(row) for row in rows], right=frozenset({0, 5}))


def _cells(row: Departure) -> tuple[str, ...]:
    from server.ledger.egress_log import is_sound
    from server.units import format_bytes

    time, size = str(row.time), str(row.bytes)
    if is_sound(row):  # else somebody changed it: `verify-egress` says so, and it shows as it is
        size = format_bytes(row.bytes)
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.datetime.fromtimestamp(row.time, datetime.UTC)
            time = moment.strftime("%Y-%m-%d %H:%M:%S")
    said = (row.key_id or "-", row.host, row.model, size, row.request_id)
    return (str(row.seq), time, *map(str, said), str(row.body_hmac)[:16])
