"""A new book after a damaged one was set aside, with all that can still be read of it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import LedgerUnavailable
from server.ledger import rows, schema
from server.ledger.companions import read_secret
from server.ledger.writer import begin_log

_STRETCH = 256
_SENSIBLE = 2**53
_NUMBERS = frozenset(
    {
        "day", "attempts", "prompt_tokens", "completion_tokens", "output_tokens", "cached_tokens",
        "cache_write_tokens", "reasoning_tokens", "cost", "saved",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Renewal:
    aside: Path
    """The damaged book that was read."""
    entries: int
    """Taken over from it, and open reservations."""
    holds: int
    """Open reservations among them. Those of a server that runs go on; the others count as spent
    in full as soon as one opens the new book."""
    complete: bool
    """Whether all of it could be read."""


def renew(path: Path) -> Renewal:
    """Write a new book at `path`. The log of what left begins anew: the old one stays with the
    damaged file.

    Raises LedgerUnavailable where there is a book, where none was set aside, or where the disk does
    not let us.
    """
    aside = schema.damaged(path)
    if path.exists() or not aside:
        raise LedgerUnavailable(
            f"there is nothing to renew at {path}",
            why="a book is there" if path.exists() else "no damaged book was set aside",
            next_step="A new ledger is written only after a damaged one was set aside",
        )
    found, held = _Found(), _Found()
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(schema.connect(aside[-1], read_only=True)) as old,
    ):
        held = _read(old, "hold", rows.HOLD_COLUMNS)
        found = _read(old, "entry", rows.ENTRY_COLUMNS)
    holds = {row[0]: row for row in held.rows}  # a damaged table may tell of one twice

    def fill(book: sqlite3.Connection) -> None:
        book.execute("BEGIN IMMEDIATE")
        book.executemany(rows.INSERT_ENTRY, found.rows)
        book.executemany(rows.insert("hold", rows.HOLD_COLUMNS), holds.values())
        begin_log(book, read_secret(path, make=True))
        book.execute("COMMIT")

    try:
        schema.create(path, fill)
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(
            f"a new ledger cannot be written at {path}",
            why=str(error),
            next_step="Check its folder's permissions and the free space",
        ) from error
    count = len(found.rows) + len(holds)
    return Renewal(aside[-1], count, len(holds), found.whole and held.whole)


@dataclass(slots=True)
class _Found:
    rows: list[rows.Row] = field(default_factory=list)
    whole: bool = False


def _read(book: sqlite3.Connection, table: str, columns: Sequence[str]) -> _Found:
    """All rows of a table that can be read and make sense, in the order of their ids.

    In stretches, since a damaged page makes a query fail that meets it, and no other; where one
    does, row by row. Where not even the last id can be read, what comes before the first damaged
    page is all.
    """
    found = _Found(whole=True)
    select = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608
    try:
        (last,) = book.execute(f"SELECT MAX(id) FROM {table}").fetchone()  # noqa: S608
    except sqlite3.Error:
        found.whole = False
        with contextlib.suppress(sqlite3.Error):
            for row in book.execute(f"{select} ORDER BY id"):
                _keep(found, columns, row)
        return found
    for first in range(1, (last or 0) + 1, _STRETCH):
        try:
            stretch = book.execute(
                f"{select} WHERE id BETWEEN ? AND ?", (first, first + _STRETCH - 1)
            ).fetchall()
        except sqlite3.Error:
            found.whole = False
            stretch = []
            for id_ in range(first, first + _STRETCH):
                with contextlib.suppress(sqlite3.Error):
                    stretch += book.execute(f"{select} WHERE id = ?", (id_,)).fetchall()
        for row in stretch:
            _keep(found, columns, row)
    return found


def _keep(found: _Found, columns: Sequence[str], row: rows.Row) -> None:
    """A row, if it can be one: damage may show as nonsense instead of an error."""
    numbers = [value for name, value in zip(columns, row, strict=True) if name in _NUMBERS]
    if all(type(value) is int and 0 <= value < _SENSIBLE for value in numbers):
        found.rows.append(row)
    else:
        found.whole = False
