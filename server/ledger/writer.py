"""The one connection that writes the book. Runs on one thread, which is its own.

Many requests' rows go into one transaction, and so share one flush to the disk. What cannot be
written is told to the caller, who keeps it; nothing here waits or tries again by itself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from server.errors import LedgerUnavailable
from server.ledger import rows, schema
from server.ledger.account import Account
from server.ledger.companions import read_secret, take_lock
from server.ledger.egress_log import BEGINNING, EGRESS_COLUMNS, Chain
from server.ledger.entry import Entry, Reservation
from server.ledger.recovery import Found, recover
from server.ledger.rows import Text

_INSERT_HOLD = rows.insert("hold", rows.HOLD_COLUMNS)
_INSERT_EGRESS = rows.insert("egress", EGRESS_COLUMNS)
_INSERT_TEXT = rows.insert("text", ("time", "request_id", "key_id", "request", "answer"))
_SET_HEAD = "INSERT OR REPLACE INTO meta (name, value) VALUES ('egress_head', ?)"


@dataclass(slots=True)
class Batch:
    """What goes into one transaction."""

    reservations: list[tuple[int, int, Account, Reservation]] = field(default_factory=list)
    """With the id of each one's hold, and the day on which it was made."""
    released: list[int] = field(default_factory=list)
    """Holds that end without an entry."""
    entries: list[tuple[int, Entry, int | None]] = field(default_factory=list)
    """With the day on which each is booked, and the hold that it ends, if it ends one."""
    texts: list[Text] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.reservations) + len(self.released) + len(self.entries) + len(self.texts)

    @property
    def ended(self) -> list[int]:
        """Holds that are no longer, once it is written."""
        return self.released + [hold for *_, hold in self.entries if hold is not None]

    def halves(self) -> tuple[Batch, Batch]:
        """Its rows as two batches, to be written one after the other."""
        first, second = Batch(), Batch()
        room = len(self) // 2
        for kind in fields(self):
            rows_ = getattr(self, kind.name)
            setattr(first, kind.name, rows_[:room])
            setattr(second, kind.name, rows_[room:])
            room = max(0, room - len(rows_))
        return first, second


class Writer:
    """The book at `path`. All methods belong to one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._chain = Chain(b"")
        self._inode = 0

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self, now: float, live: Collection[int]) -> Found:
        """Open the book, or make one where there was never any; settle what a dead process held.

        `now`: seconds since 1970; `live`: this process's own holds, where it had a book open
        before. Raises LedgerUnavailable: where a damaged book was set aside, now or earlier, and
        nobody has had a new one written since; where another process writes it; and where the disk
        does not let us.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_lock()
            secret = read_secret(self._path, make=True)
            if not self._path.exists():
                self._refuse_after_damage()
                schema.create(self._path, lambda connection: begin_log(connection, secret))
            connection = schema.open_checked(self._path)
            try:
                found = recover(connection, now, live)
                self._chain, whole = _chain_of(connection, secret)
                found = replace(found, log_is_whole=whole)
                self._inode = os.stat(self._path).st_ino
            except BaseException:
                connection.close()
                raise
        except schema.DamageError as damage:
            raise self._set_aside(str(damage), now) from damage
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(self._path, error) from error
        self._connection = connection
        return found

    def write(self, batch: Batch, now: float) -> None:
        """Commit all of it, or none: when it returns, it is on the disk.

        Raises LedgerUnavailable, upon which the book may be closed; anything else where a row is at
        fault, which no later time will mend.
        """
        connection = self._connection
        assert connection is not None
        chain = self._chain.copy()
        try:
            if os.stat(self._path).st_ino != self._inode:
                raise FileNotFoundError(f"{self._path} was replaced by another file")
            with schema.transaction(connection):
                _insert(connection, batch, chain)
        except (sqlite3.DataError, sqlite3.IntegrityError):
            raise
        except sqlite3.Error as error:
            if schema.is_damage(error):
                self._close_connection()
                raise self._set_aside(str(error), now) from error
            raise _unavailable(self._path, error) from error
        except OSError as error:  # SQLite itself goes on writing to a file that has no name
            self._close_connection()
            raise _unavailable(self._path, error) from error
        self._chain = chain

    def close(self) -> None:
        self._close_connection()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_connection(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _take_lock(self) -> None:
        """Two writers could damage the file (see `schema.sqlite_warning`), and overspend."""
        if self._lock is None:
            self._lock = take_lock(self._path)

    def _refuse_after_damage(self) -> None:
        if aside := schema.damaged(self._path):
            raise _damaged(aside[-1], "it was set aside earlier, and no new one written since")

    def _set_aside(self, why: str, now: float) -> LedgerUnavailable:
        try:
            return _damaged(schema.set_aside(self._path, now), why)
        except OSError as error:
            return _unavailable(self._path, error)


def begin_log(connection: sqlite3.Connection, secret: bytes) -> None:
    """Write down that the log of departures is empty, so that an emptied one is told apart."""
    connection.execute(_SET_HEAD, (Chain(secret).head,))


def _insert(connection: sqlite3.Connection, batch: Batch, chain: Chain) -> None:
    if batch.reservations:
        departures = [
            chain.add(one.time, one.request_id, one.key_id, one.host, one.model, one.body)
            for *_, one in batch.reservations
        ]
        connection.executemany(
            _INSERT_HOLD, [rows.hold_row(*reserved) for reserved in batch.reservations]
        )
        connection.executemany(
            _INSERT_EGRESS,
            [[getattr(one, name) for name in EGRESS_COLUMNS] for one in departures],
        )
    if batch.reservations or not batch:  # an empty one is to show whether writing works
        connection.execute(_SET_HEAD, (chain.head,))
    if ended := batch.ended:
        connection.executemany("DELETE FROM hold WHERE id = ?", [(hold,) for hold in ended])
    if batch.entries:
        connection.executemany(
            rows.INSERT_ENTRY, [rows.entry_row(day, entry) for day, entry, _ in batch.entries]
        )
    if batch.texts:
        connection.executemany(
            _INSERT_TEXT,
            [
                (one.time, one.request_id, one.key_id, one.request, one.answer)
                for one in batch.texts
            ],
        )


def _chain_of(connection: sqlite3.Connection, secret: bytes) -> tuple[Chain, bool]:
    """The log's end, to go on from, and whether its head proves it.

    Where it does not, rows are missing at the end, or the secret is another one. The next row is
    then chained to the head that does not fit and not to the last row, so that what happened shows
    at its place for ever, and does not end with the next head.
    """
    last = connection.execute("SELECT seq, chain FROM egress ORDER BY seq DESC LIMIT 1").fetchone()
    head = connection.execute("SELECT value FROM meta WHERE name = 'egress_head'").fetchone()
    seq, link = last or (0, BEGINNING)
    chain = Chain(secret, seq, str(link))  # whoever changed it may have left anything there
    told = "" if head is None else str(head[0])
    if chain.proves(told):
        return chain, True
    return Chain(secret, seq, f"does not fit {told}"), False


def _unavailable(path: Path, error: Exception) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the ledger {path} cannot be written",
        why=str(error),
        next_step="Check its folder's permissions and the free space; local models go on",
    )


def _damaged(aside: Path, why: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the ledger was damaged and set aside as {aside}",
        why=why,
        next_step="What was spent is not known, so no cloud is used before `holdfast usage renew` "
        "has written a new one; local models go on",
    )
