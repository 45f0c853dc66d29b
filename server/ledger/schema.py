"""The book's file: its tables, how it is made, opened, brought up to date, and set aside.

A new file is made whole beside its place and then renamed, so that one found without its tables is
a damaged one and never one half made.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from server.errors import LedgerUnavailable

_MARK = 0x486F6C64  # "Hold": SQLite's application_id, so that another program's file is told apart
_BUSY = 2000  # milliseconds to wait for a lock that a person's tool holds

_FIRST = """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    time REAL NOT NULL,
    request_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT,
    shadow TEXT,
    endpoint TEXT NOT NULL,
    asked TEXT NOT NULL,
    model TEXT NOT NULL,
    route TEXT NOT NULL,
    provider TEXT,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    predicted_ttft REAL,
    ttft REAL,
    seconds REAL NOT NULL,
    outcome TEXT NOT NULL,
    final INTEGER NOT NULL
);
CREATE INDEX entry_day ON entry (day);
CREATE TABLE hold (
    id INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    time REAL NOT NULL,
    request_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT,
    shadow TEXT,
    endpoint TEXT NOT NULL,
    asked TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    cost INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL
);
CREATE TABLE egress (
    seq INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    request_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    host TEXT NOT NULL,
    model TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    body_hmac TEXT NOT NULL,
    chain TEXT NOT NULL
);
CREATE TABLE text (
    time REAL NOT NULL,
    request_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    request BLOB NOT NULL,
    answer TEXT NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
VERSIONS: tuple[str, ...] = (_FIRST,)
"""Scripts, each of which brings a book from the version before to its own; versions count from 1.
One that is out in the world is never changed."""


class DamageError(Exception):
    """The file is not a whole book. Stays within the ledger."""


def sqlite_warning(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str | None:
    """What is to be said of this version of SQLite, if anything.

    From 3.7.0 to 3.51.2 two connections that write or checkpoint at the same instant can lose what
    was committed (the "WAL-reset" bug; sqlite.org/wal.html). Holdfast has one connection that does
    either, in one process, held to that by a lock; all others read only.
    """
    if not (3, 7, 0) <= version < (3, 51, 3):
        return None
    return (
        f"SQLite {'.'.join(map(str, version))} can damage a file that two connections write to at "
        "once (mended in 3.51.3)"
    )


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to a file that exists; a transaction is begun by BEGIN only.

    Raises sqlite3.Error.
    """
    mode = "ro" if read_only else "rw"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY / 1000)
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def create(
    path: Path,
    fill: Callable[[sqlite3.Connection], None] = lambda _: None,
    versions: Sequence[str] = VERSIONS,
) -> None:
    """Make a new book at `path`, with what `fill` writes into it. Raises OSError, sqlite3.Error."""
    fresh = path.with_name(f"{path.name}.new")
    for leftover in _with_companions(fresh):
        leftover.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    os.close(handle)
    with contextlib.closing(connect(fresh)) as connection:
        connection.execute(f"PRAGMA application_id = {_MARK}")
        migrate(connection, versions)
        fill(connection)
        # From here on in the file's header; closing the last connection empties the log into it.
        connection.execute("PRAGMA journal_mode = WAL")
    handle = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    _sync(path.parent)


def open_checked(path: Path, versions: Sequence[str] = VERSIONS) -> sqlite3.Connection:
    """The connection that writes, to a book that is whole and of the present version.

    Every commit through it is on the disk when it returns. Raises DamageError; LedgerUnavailable
    for a book of a later version; sqlite3.Error, OSError.
    """
    connection = connect(path)
    try:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        if mark != _MARK:
            raise DamageError("it is not a ledger of Holdfast")
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise DamageError("; ".join(" ".join(str(one).split()) for one in problems))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        migrate(connection, versions)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error) and is_damage(error):
            raise DamageError(str(error)) from error
        raise
    return connection


def migrate(connection: sqlite3.Connection, versions: Sequence[str] = VERSIONS) -> None:
    """Bring the book to the last of `versions`, a version at a time, each whole or not at all.

    Raises LedgerUnavailable where it is beyond that, sqlite3.Error.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(versions):
        raise LedgerUnavailable(
            f"the ledger was written by a later Holdfast (version {version} of its tables, "
            f"this one knows {len(versions)})",
            next_step="Use that Holdfast, or give this one another home",
        )
    for number, script in enumerate(versions[version:], version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number};")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is executed inside, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the file is not as SQLite left it, rather than that it cannot be
    reached or written just now."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, now: float) -> Path:
    """Rename a damaged book and its companions; returns its new name. Raises OSError."""
    stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for old, new in zip(_with_companions(path), _with_companions(aside), strict=True):
        if old.exists():
            old.rename(new)
    _sync(path.parent)
    return aside


def damaged(path: Path) -> list[Path]:
    """The books that were set aside here, oldest first."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(one for one in found if not one.name.endswith(("-wal", "-shm")))


def _with_companions(path: Path) -> tuple[Path, Path, Path]:
    return (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
