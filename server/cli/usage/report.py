"""A statement as lines for people, as CSV and as JSON. Pure."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from server.cli.columns import columns
from server.ledger.statement import Statement, Sum
from server.units import exact_money, format_money

_HEADING = ("REQUESTS", "ERRORS", "LOCAL", "PROMPT", "CACHED", "OUTPUT", "SPENT", "SAVED")
_NOBODY = {"team": "(no team)", "provider": "(local)", "model": "(none answered)"}


def table(
    found: Statement, since: datetime.date, until: datetime.date, names: Mapping[str, str]
) -> list[str]:
    """Aligned columns, a total, and what it comes to in words. `names`: of keys, by id."""
    if not found.rows:
        return [f"Nothing was asked from {since} to {until}.", *_under_way(found)]
    rows: list[tuple[str, ...]] = [(found.by.upper(), *_HEADING)]
    rows += [(_shown(found, name, names), *_cells(one)) for name, one in found.rows.items()]
    total = found.total
    rows.append(("total", *_cells(total)))
    return [
        *columns(rows, right=frozenset(range(1, len(_HEADING) + 1))),
        *_under_way(found),
        _in_words(total),
    ]


def as_csv(found: Statement, names: Mapping[str, str]) -> str:
    """A line for each row, no total; money in USD, exactly."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    heading = [found.by] + (["name"] if found.by == "key" else [])
    writer.writerow(
        [
            *heading, "requests", "errors", "local", "prompt_tokens", "cached_tokens",
            "output_tokens", "spent_usd", "saved_usd",
        ]
    )  # fmt: skip
    for name, one in found.rows.items():
        label = [name] + ([names.get(name, "")] if found.by == "key" else [])
        counts = [
            one.requests, one.errors, one.local, one.prompt_tokens, one.cached_tokens,
            one.output_tokens,
        ]  # fmt: skip
        writer.writerow([*label, *counts, _usd(one.spent), _usd(one.saved)])
    return written.getvalue()


def as_json(
    found: Statement, since: datetime.date, until: datetime.date, names: Mapping[str, str]
) -> bytes:
    """Money in nano-USD, in keys that say so."""
    rows = [
        {found.by: name}
        | ({"name": names.get(name)} if found.by == "key" else {})
        | _as_fields(one)
        for name, one in found.rows.items()
    ]
    return orjson.dumps(
        {
            "since": since,
            "until": until,
            "by": found.by,
            "rows": rows,
            "total": _as_fields(found.total),
            "reserved_nano_usd": found.held,
        }
    )


def _as_fields(one: Sum) -> dict[str, Any]:
    said = asdict(one)
    return said | {"spent_nano_usd": said.pop("spent"), "saved_nano_usd": said.pop("saved")}


def _cells(one: Sum) -> tuple[str, ...]:
    counts = (
        one.requests, one.errors, one.local, one.prompt_tokens, one.cached_tokens,
        one.output_tokens,
    )  # fmt: skip
    return (*(f"{count:,}" for count in counts), format_money(one.spent), format_money(one.saved))


def _shown(found: Statement, name: str, names: Mapping[str, str]) -> str:
    if not name:
        return _NOBODY.get(found.by, "-")
    return f"{names[name]} ({name})" if name in names else name


def _in_words(total: Sum) -> str:
    alone = total.spent + total.saved
    part = f" ({total.saved / alone:.0%})" if alone else ""
    return (
        f"{format_money(total.spent)} spent; all of it in the cloud would have cost "
        f"{format_money(alone)}: {format_money(total.saved)} saved{part}."
    )


def _under_way(found: Statement) -> list[str]:
    if not found.held:
        return []
    return [f"{format_money(found.held)} more are reserved for requests under way."]


def _usd(nano: int) -> str:
    return exact_money(nano).removesuffix(" USD")
