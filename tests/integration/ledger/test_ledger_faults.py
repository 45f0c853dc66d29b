"""The ledger's file full, damaged, locked, replaced, out of reach: clouds are refused, local
requests go on, and what came meanwhile is there afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.errors import LedgerUnavailable
from server.ledger import renewal, schema
from server.ledger.book import Book
from tests.integration.ledger import full_disk
from tests.ledger.money import account, entry, reservation

pytestmark = pytest.mark.integration


def disk() -> tuple[list[str], str]:
    """How a program gets a small disk here: mounts of its own, else a limit for its files."""
    for options in (["-m"], ["-Urm"]):
        command = ["unshare", *options]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command, "tmpfs"
    return [], "limit"


@pytest.mark.parametrize("how", [disk(), ([], "limit")], ids=["disk", "limit"])
def test_a_disk_that_is_full_and_then_is_not(tmp_path: Path, how: tuple[list[str], str]) -> None:
    prefix, kind = how
    done = subprocess.run(
        [*prefix, sys.executable, "-m", full_disk.__name__, tmp_path, kind],
        capture_output=True, text=True, timeout=120, check=False,
        cwd=Path(__file__).parents[3], env=os.environ | {"PYTHONPATH": "."},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["sent"] > 10
    assert "cannot be written" in told["alarm"]
    assert told["refused"] == 3
    assert told["held"] == 0
    assert told["whole"]
    assert told["cloud"] == [told["sent"] + 1] * 2, "each that was sent is there, once"
    assert told["local"] == [told["sent"] + 100] * 2
    assert (told["holds"], told["refused_left"]) == (0, 0)


async def open_book(folder: Path) -> Book:
    book = Book(folder / "book.db")
    await book.start()
    return book


async def refused(book: Book) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be written down just now"):
        await book.reserve(account(), reservation(1))


async def back(book: Book) -> None:
    while not book.health.open:
        await asyncio.sleep(0.02)


def entries(path: Path) -> int:
    with contextlib.closing(schema.connect(path, read_only=True)) as book:
        (count,) = book.execute("SELECT COUNT(*) FROM entry").fetchone()
    return int(count)


async def filled(folder: Path, count: int) -> Path:
    book = await open_book(folder)
    for number in range(count):
        book.record(entry(3, 1, f"r{number}"))
    await book.reserve(account(), reservation(1000, name="open"))
    await book.close()
    return book.path


def garble(path: Path) -> None:
    """The middle third of the file, as a dying disk might leave it."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(size // 3)
        file.write(b"\xa5" * (size // 3))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def wipe(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [garble, cut, wipe])
async def test_a_damaged_book_closes_the_clouds_until_a_new_one_is_written(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = await filled(tmp_path, 3000)
    damage(path)
    broken = path.read_bytes()
    book = await open_book(tmp_path)
    assert "was damaged and set aside as" in book.health.alarm
    await refused(book)
    book.record(entry(0, 1, "meanwhile", route="local"))
    (aside,) = schema.damaged(path)
    assert aside.read_bytes() == broken
    await book.close()

    book = await open_book(tmp_path)
    assert "it was set aside earlier" in book.health.alarm, "a new start is no new budget"
    await refused(book)
    book.record(entry(0, 1, "later", route="local"))
    report = renewal.renew(path)
    await back(book)
    await book.reserve(account(), reservation(1))
    assert entries(path) == report.entries + 1
    assert aside.exists()
    await book.close()


async def test_what_can_be_read_of_a_damaged_book_is_taken_over(tmp_path: Path) -> None:
    path = await filled(tmp_path, 3000)
    garble(path)
    await (await open_book(tmp_path)).close()
    report = renewal.renew(path)
    assert 0 < report.entries < 3000
    book = await open_book(tmp_path)
    spent = book.spent(account().parties[0]).month
    assert spent % 3 in (0, 1)
    assert spent // 3 >= report.entries - 1
    await book.close()


async def test_a_book_that_breaks_while_it_is_used(tmp_path: Path) -> None:
    await filled(tmp_path, 3000)
    book = await open_book(tmp_path)
    await book.reserve(account(), reservation(1))
    with contextlib.closing(sqlite3.connect(book.path, isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with book.path.open("r+b") as file:  # all but the list of tables
            file.seek(4096)
            file.write(b"\xa5" * (book.path.stat().st_size - 4096))
        other.execute("PRAGMA user_version = 1")  # so that the book's own pages are read anew
    await refused(book)
    book.record(entry(0, 1, "meanwhile", route="local"))
    (aside,) = schema.damaged(book.path)
    assert aside.name in book.health.alarm
    renewal.renew(book.path)
    await back(book)
    await book.reserve(account(), reservation(1))
    await book.close()
    assert entries(book.path) >= 1


def break_entries(path: Path) -> None:
    """The first page of the entries; where the holds are can be read."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        ((page,),) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'")
        ((size,),) = other.execute("PRAGMA page_size")
        with path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)
        other.execute("PRAGMA user_version = 1")  # so that the book's own pages are read anew


async def test_what_is_under_way_while_a_book_breaks_is_charged_once(tmp_path: Path) -> None:
    who = account()
    await filled(tmp_path, 10)
    book = await open_book(tmp_path)
    before, during, after = [
        await book.reserve(who, reservation(100, name=name)) for name in ("b", "d", "a")
    ]
    left = await book.reserve(who, reservation(100, name="left"))
    break_entries(book.path)
    book.settle(before, entry(10, name="b"))
    while book.health.open:
        await asyncio.sleep(0.02)
    book.settle(during, entry(20, name="d"))
    book.release(left)
    report = renewal.renew(book.path)
    assert report.holds == 4
    await back(book)
    book.settle(after, entry(30, name="a"))
    never = await book.reserve(who, reservation(100, name="never"))
    while book.health.waiting:
        await asyncio.sleep(0.02)
    with contextlib.closing(schema.connect(book.path, read_only=True)) as other:
        query = "SELECT request_id, cost, outcome FROM entry WHERE length(request_id) = 1"
        assert sorted(other.execute(query)) == [
            ("a", 30, "answered"), ("b", 10, "answered"), ("d", 20, "answered")
        ]  # fmt: skip
        assert other.execute("SELECT request_id FROM hold").fetchall() == [("never",)]
    assert book.health.lost == 0
    await book.close()
    book = await open_book(tmp_path)
    assert book.health.interrupted == 1, never
    await book.close()


async def test_a_book_that_can_be_opened_again_has_what_came_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / "ledger"
    obstacle.write_text("")
    book = await open_book(obstacle)
    book.record(entry(0, 1, route="local"))
    await refused(book)
    obstacle.unlink()
    await back(book)
    await book.reserve(account(), reservation(1))
    assert entries(book.path) == 1
    await book.close()
    trouble, mended = caplog.messages
    assert "cannot be written" in trouble
    assert mended == "the ledger is written again: clouds may be asked"


async def test_while_somebody_else_holds_a_lock_local_requests_go_on(tmp_path: Path) -> None:
    book = await open_book(tmp_path)
    with contextlib.closing(sqlite3.connect(book.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await refused(book)
        book.record(entry(0, 5, route="local"))
        assert "locked" in book.health.alarm
        other.execute("ROLLBACK")
    await back(book)
    await book.close()
    assert entries(book.path) == 1


async def test_a_file_that_was_replaced_is_not_written_to(tmp_path: Path) -> None:
    book = await open_book(tmp_path)
    book.path.rename(book.path.with_name("elsewhere.db"))
    await refused(book)
    await back(book)
    await book.reserve(account(), reservation(1))
    with contextlib.closing(schema.connect(book.path, read_only=True)) as other:
        assert other.execute("SELECT COUNT(*) FROM hold").fetchone() == (1,)
    await book.close()
