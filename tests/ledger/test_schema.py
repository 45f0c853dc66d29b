from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from server.errors import LedgerUnavailable
from server.ledger import schema

SECOND = "ALTER TABLE entry ADD COLUMN colour TEXT;"
THIRD = "CREATE TABLE more (name TEXT); INSERT INTO more VALUES ('x');"


def versions_of(path: Path) -> int:
    with contextlib.closing(schema.connect(path, read_only=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def tables(path: Path) -> set[str]:
    with contextlib.closing(schema.connect(path, read_only=True)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_a_new_book_is_whole_private_and_flushed_at_every_commit(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    schema.create(path)
    assert [one.name for one in tmp_path.iterdir()] == ["book.db"]
    with contextlib.closing(schema.open_checked(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {"entry", "hold", "egress", "text", "meta"} <= tables(path)


def test_what_was_left_half_made_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    path.with_name("book.db.new").write_bytes(b"half")
    schema.create(path)
    schema.open_checked(path).close()


def test_an_older_book_is_brought_up_to_date_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "book.db"

    def fill(book: sqlite3.Connection) -> None:
        book.execute("INSERT INTO meta VALUES ('a', 'b')")

    schema.create(path, fill)
    later = (*schema.VERSIONS, SECOND, THIRD)
    with contextlib.closing(schema.open_checked(path, later)) as connection:
        assert connection.execute("SELECT colour FROM entry").fetchall() == []
        assert connection.execute("SELECT value FROM meta").fetchall() == [("b",)]
    assert versions_of(path) == 3
    with contextlib.closing(schema.open_checked(path, later)) as connection:
        assert connection.execute("SELECT name FROM more").fetchall() == [("x",)]


def test_a_version_is_reached_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    schema.create(path)
    broken = "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);"
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.open_checked(path, (*schema.VERSIONS, SECOND, broken))
    assert versions_of(path) == 2
    assert "half" not in tables(path)
    schema.open_checked(path, (*schema.VERSIONS, SECOND)).close()


def test_a_later_book_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    schema.create(path, versions=(*schema.VERSIONS, SECOND))
    before = path.read_bytes()
    with pytest.raises(LedgerUnavailable, match="written by a later Holdfast"):
        schema.open_checked(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"this is no database at all" * 200, id="text"),
        pytest.param(b"SQLite format 3\0" + b"\xff" * 5000, id="nonsense behind the right name"),
    ],
)
def test_another_file_is_no_book(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "book.db"
    path.write_bytes(data)
    with pytest.raises(schema.DamageError):
        schema.open_checked(path)


def test_a_database_of_another_program_is_no_book(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entry (a)")
    with pytest.raises(schema.DamageError, match="not a ledger of Holdfast"):
        schema.open_checked(path)


def test_every_page_that_is_overwritten_is_found(tmp_path: Path) -> None:
    path = tmp_path / "book.db"

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO text VALUES (?, ?, ?, ?, ?)",
            [(1.0, f"r{i}", "k", b"x" * 100, "y" * 100) for i in range(300)],
        )

    schema.create(path, fill)
    whole = path.read_bytes()
    pages = len(whole) // 4096
    assert pages > 15
    for page in range(pages):
        damaged = bytearray(whole)
        damaged[page * 4096 : page * 4096 + 512] = b"\xa5" * 512
        path.write_bytes(damaged)
        with pytest.raises(schema.DamageError):
            schema.open_checked(path)


def test_a_damaged_book_is_set_aside_whole_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    names = []
    for content in ("one", "two"):
        path.write_text(content)
        path.with_name("book.db-wal").write_text(f"{content} wal")
        names.append(schema.set_aside(path, 1_795_262_400.0))
    assert [one.name for one in names] == [
        "book.db.damaged-20261121T120000Z",
        "book.db.damaged-20261121T120000Z-2",
    ]
    assert [one.read_text() for one in schema.damaged(path)] == ["one", "two"]
    assert names[1].with_name(f"{names[1].name}-wal").read_text() == "two wal"
    assert not path.exists()


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_versions_of_sqlite_that_can_damage_a_file_are_told(
    version: tuple[int, int, int], warned: bool
) -> None:
    assert (schema.sqlite_warning(version) is not None) == warned


def test_who_reads_neither_writes_nor_checkpoints(tmp_path: Path) -> None:
    """Of several connections that do either at once an old SQLite can damage the file."""
    path = tmp_path / "book.db"
    schema.create(path)
    with contextlib.closing(schema.open_checked(path)) as writer:
        writer.execute("INSERT INTO meta VALUES ('a', 'b')")
        before = path.read_bytes(), path.with_name("book.db-wal").read_bytes()
        with contextlib.closing(schema.connect(path, read_only=True)) as reader:
            assert reader.execute("SELECT value FROM meta").fetchall() == [("b",)]
            with contextlib.suppress(sqlite3.OperationalError):
                reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM meta")
        assert (path.read_bytes(), path.with_name("book.db-wal").read_bytes()) == before
