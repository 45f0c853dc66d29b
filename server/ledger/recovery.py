"""What a book holds when it is opened; the money of a dead process is taken as spent."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from server.ledger import rows, schema
from server.ledger.balance import PartyKey, parties_of
from server.ledger.limits import NOTHING, Spent, day_of, month_of

_SUMS = """
SELECT key_id, team, shadow,
       SUM(CASE WHEN day = :day THEN cost ELSE 0 END), SUM(cost),
       SUM(CASE WHEN day = :day THEN prompt_tokens + completion_tokens ELSE 0 END),
       SUM(prompt_tokens + completion_tokens)
FROM entry WHERE day >= :first GROUP BY key_id, team, shadow
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What an opened book holds."""

    day: int
    """The latest that anything is booked on."""
    spent: dict[PartyKey, Spent]
    interrupted: int
    """Holds of a process that died, now settled at their maximum."""
    log_is_whole: bool = True
    """Whether the log of what left ends as it was left."""


def recover(connection: sqlite3.Connection, now: float, live: Collection[int]) -> Found:
    """Settle every open hold at its maximum, but those of this process (`live`), and sum up the
    latest day and month."""
    days = [
        connection.execute(f"SELECT MAX(day) FROM {table}").fetchone()[0]  # noqa: S608
        for table in ("entry", "hold")
    ]
    day = max(day_of(now), *(latest or 0 for latest in days))
    columns = ", ".join(rows.HOLD_COLUMNS)
    with schema.transaction(connection):
        held = connection.execute(f"SELECT {columns} FROM hold").fetchall()  # noqa: S608
        dead = [row for row in held if row[0] not in live]
        connection.executemany(
            rows.INSERT_ENTRY, [rows.entry_row(day, rows.interrupted(row)) for row in dead]
        )
        connection.executemany("DELETE FROM hold WHERE id = ?", [row[:1] for row in dead])
    return Found(day, _sums(connection, day), len(dead))


def _sums(connection: sqlite3.Connection, day: int) -> dict[PartyKey, Spent]:
    found: dict[PartyKey, Spent] = {}
    first = day
    while month_of(first - 1) == month_of(day):
        first -= 1
    for key, team, shadow, *sums in connection.execute(_SUMS, {"day": day, "first": first}):
        for party in parties_of(key, team, shadow):
            before = found.get(party, NOTHING)
            found[party] = Spent(
                before.day + sums[0],
                before.month + sums[1],
                before.tokens_day + sums[2],
                before.tokens_month + sums[3],
            )
    return found
