"""What the book says: sums over days, and what left. Reads only, also while a server writes."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from server.errors import LedgerUnavailable
from server.ledger.egress_log import EGRESS_COLUMNS, Departure
from server.ledger.schema import connect, damaged

Grouping = Literal["day", "key", "model", "route", "team", "provider"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
_BY: dict[Grouping, str] = {
    "day": "day",
    "key": "key_id",
    "model": "model",
    "route": "route",
    "team": "COALESCE(team, '')",
    "provider": "COALESCE(provider, '')",
}
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some requests. Money is in nano-USD."""

    requests: int = 0
    """Those of clients; attempts that another followed, and shadow copies, only cost."""
    errors: int = 0
    """Those of them that got no whole answer, though their client stayed."""
    local: int = 0
    """Those of them that were answered here."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens, those that came from caches."""
    output_tokens: int = 0
    spent: int = 0
    saved: int = 0
    """What the cheapest capable cloud would have cost more."""

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(Sum)),
        )


@dataclass(frozen=True, slots=True)
class Statement:
    by: Grouping
    rows: dict[str, Sum]
    """By day (`2026-11-21`, oldest first), or by name, dearest first."""
    held: int
    """Nano-USD reserved for requests under way."""

    @property
    def total(self) -> Sum:
        return sum(self.rows.values(), Sum())


def statement(path: Path, by: Grouping, since: datetime.date, until: datetime.date) -> Statement:
    """What was booked on the days from `since` to `until`, both included (UTC).

    Raises LedgerUnavailable for a book that cannot be read.
    """
    group = _BY[by]
    order = "1" if by == "day" else "SUM(cost) DESC, COUNT(*) DESC, 1"
    query = f"""
        SELECT {group}, SUM(final), SUM(final AND outcome IN ('failed', 'interrupted')),
               SUM(final AND route = 'local' AND model != ''), SUM(prompt_tokens),
               SUM(cached_tokens), SUM(completion_tokens), SUM(cost), SUM(saved)
        FROM entry WHERE day BETWEEN ? AND ? GROUP BY 1 ORDER BY {order}
    """  # noqa: S608
    with reading(path) as book:
        days = ((since - _EPOCH).days, (until - _EPOCH).days)
        found = book.execute(query, days).fetchall()
        (held,) = book.execute("SELECT COALESCE(SUM(cost), 0) FROM hold").fetchone()
    return Statement(by, {_name(by, name): Sum(*sums) for name, *sums in found}, held)


def departures(book: sqlite3.Connection) -> Iterator[Departure]:
    """The log of what left, in its order. Raises sqlite3.Error."""
    columns = ", ".join(EGRESS_COLUMNS)
    for row in book.execute(f"SELECT {columns} FROM egress ORDER BY seq"):  # noqa: S608
        yield Departure(*row)


def head(book: sqlite3.Connection) -> str | None:
    """What the log's last row is proven by."""
    row = book.execute("SELECT value FROM meta WHERE name = 'egress_head'").fetchone()
    return None if row is None else str(row[0])


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The book, as it is at one moment. Raises LedgerUnavailable."""
    if not path.exists():
        aside = damaged(path)
        raise LedgerUnavailable(
            f"there is no ledger at {path}",
            why=f"it was damaged and set aside as {aside[-1]}" if aside else "",
            next_step="`holdfast usage renew` writes a new one"
            if aside
            else "`holdfast serve` makes one",
        )
    try:
        with contextlib.closing(connect(path, read_only=True)) as book:
            book.execute("BEGIN")
            yield book
    except sqlite3.Error as error:
        raise LedgerUnavailable(
            f"the ledger {path} cannot be read",
            why=str(error),
            next_step="Check that you may read it; `holdfast serve` sets a damaged one aside",
        ) from error


def _name(by: Grouping, value: object) -> str:
    if by == "day":
        assert isinstance(value, int)
        return (_EPOCH + datetime.timedelta(days=value)).isoformat()
    return str(value)
