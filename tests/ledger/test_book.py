"""The book, over a real file: what is reserved, settled, refused, restored."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from server.catalogue.router import Limits, Match, Route, Router, Shadow
from server.chat.usage import Usage
from server.errors import BudgetExceeded, LedgerUnavailable
from server.ledger.account import Account, shadow_account
from server.ledger.book import Book, Hold
from server.ledger.companions import read_secret
from server.ledger.egress_log import Fault, verify
from server.ledger.limits import Spent
from server.ledger.rows import Text
from server.ledger.schema import connect
from server.ledger.statement import departures, head, reading
from server.units import MIB
from tests.ledger.money import DAY, NOON, account, entry, reservation


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(folder: Path, clock: Clock | None = None) -> AsyncIterator[Book]:
    book = Book(folder / "ledger" / "book.db", clock or Clock())
    await book.start()
    try:
        yield book
    finally:
        await book.close()


def rows(book: Book, query: str) -> list[tuple[Any, ...]]:
    """What another process would read now."""
    with contextlib.closing(connect(book.path, read_only=True)) as connection:
        return connection.execute(query).fetchall()


async def written(book: Book) -> None:
    while book.health.waiting:
        await asyncio.sleep(0.01)


async def tried(book: Book, who: Account, cost: int, count: int) -> list[Hold]:
    """The holds of those of `count` reservations at once that are allowed."""
    found = await asyncio.gather(
        *(book.reserve(who, reservation(cost, name=f"r{i}")) for i in range(count)),
        return_exceptions=True,
    )
    refused = [one for one in found if isinstance(one, BaseException)]
    assert all(isinstance(one, BudgetExceeded) for one in refused)
    return [one for one in found if isinstance(one, Hold)]


async def test_a_reservation_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    async with opened(tmp_path) as book:
        await book.reserve(account(), reservation(70, 5, "req_1", b"secret words"))
        assert rows(book, "SELECT request_id, key_id, cost, prompt_tokens FROM hold") == [
            ("req_1", "k", 70, 5)
        ]
        assert rows(book, "SELECT seq, request_id, key_id, host, model, bytes FROM egress") == [
            (1, "req_1", "k", "api.cloud.example", "cloud/large", 12)
        ]


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"key": Limits(day=1000)}, id="key, day"),
        pytest.param({"key": Limits(month=1000)}, id="key, month"),
        pytest.param({"team": Limits(day=1000)}, id="team, day"),
        pytest.param({"everything": Limits(month=1000)}, id="all, month"),
    ],
)
async def test_a_hundred_at_once_with_a_budget_for_ten(
    tmp_path: Path, limits: dict[str, Limits]
) -> None:
    who = account(**limits)
    async with opened(tmp_path) as book:
        holds = await tried(book, who, 100, 100)
        assert len(holds) == 10
        assert (book.left(who), len(rows(book, "SELECT * FROM hold"))) == (0, 10)
        for hold in holds:
            book.settle(hold, entry(40, team=who.team))
        assert book.left(who) == 600
        assert len(await tried(book, who, 100, 100)) == 6
        assert book.left(who) == 0
    async with opened(tmp_path) as book:
        assert book.left(who) == 0, "the six that were never settled count in full"
        assert [book.spent(party) for party in who] == [Spent(1000, 1000)] * len(who.parties)


async def test_what_is_not_used_is_free_again(tmp_path: Path) -> None:
    who = account(Limits(day=100))
    async with opened(tmp_path) as book:
        hold = await book.reserve(who, reservation(100))
        with pytest.raises(BudgetExceeded):
            await book.reserve(who, reservation(1))
        book.settle(hold, entry(30))
        assert book.left(who) == 70
        book.release(await book.reserve(who, reservation(70)))
        assert book.left(who) == 70
        await written(book)
        assert rows(book, "SELECT * FROM hold") == []
        assert rows(book, "SELECT cost, day FROM entry") == [(30, NOON // DAY)]


async def test_a_hold_ends_once(tmp_path: Path) -> None:
    who = account(Limits(day=100))
    async with opened(tmp_path) as book:
        hold = await book.reserve(who, reservation(50))
        book.settle(hold, entry(20))
        book.settle(hold, entry(20))
        book.release(hold)
        other = await book.reserve(who, reservation(50))
        book.release(other)
        book.settle(other, entry(50))
        assert book.left(who) == 80
        await written(book)
        assert rows(book, "SELECT SUM(cost) FROM entry") == [(20,)]


async def test_an_answer_that_costs_more_than_was_reserved_is_charged_and_told(
    tmp_path: Path,
) -> None:
    who = account(Limits(day=100))
    async with opened(tmp_path) as book:
        book.settle(await book.reserve(who, reservation(10)), entry(130))
        assert (book.left(who), book.health.overruns) == (0, 1)


async def test_tokens_of_local_requests_count_and_are_held(tmp_path: Path) -> None:
    who = account(Limits(tokens_day=100))
    async with opened(tmp_path) as book:
        hold = book.claim(who, 60)
        with pytest.raises(BudgetExceeded, match="100 tokens 0 are spent, 60 are reserved"):
            book.claim(who, 60)
        book.settle(hold, entry(0, 10, route="local"))
        book.record(entry(0, 20, route="local"))
        assert book.spent(who.parties[0]) == Spent(0, 0, 30, 30)
        book.release(book.claim(who, 70))
        await written(book)
        assert rows(book, "SELECT COUNT(*) FROM hold") == [(0,)]
    async with opened(tmp_path) as book:
        assert book.spent(who.parties[0]) == Spent(0, 0, 30, 30)


async def test_what_a_dead_process_held_is_settled_at_its_maximum(tmp_path: Path) -> None:
    who = account(Limits(day=1000), team=Limits())
    async with opened(tmp_path) as book:
        await book.reserve(who, reservation(300, 7, "req_dead"))
    async with opened(tmp_path) as book:
        assert (book.left(who), book.health.interrupted) == (700, 1)
        assert rows(book, "SELECT * FROM hold") == []
        assert rows(book, "SELECT request_id, team, cost, prompt_tokens, outcome FROM entry") == [
            ("req_dead", "t", 300, 7, "interrupted")
        ]
    async with opened(tmp_path) as book:
        assert (book.left(who), book.health.interrupted) == (700, 0)


async def test_a_caller_that_goes_away_leaves_nothing_held(tmp_path: Path) -> None:
    who = account(Limits(day=100))
    async with opened(tmp_path) as book:
        for passes in range(6):
            task = asyncio.ensure_future(book.reserve(who, reservation(100)))
            for _ in range(passes):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                book.release(await task)
            assert book.left(who) == 100
        await written(book)
        assert rows(book, "SELECT * FROM hold") == []


async def test_budgets_begin_anew_with_the_day_and_the_month(tmp_path: Path) -> None:
    clock = Clock()
    who = account(Limits(day=100, month=250))
    async with opened(tmp_path, clock) as book:
        for expected in (100, 100, 50, 0):
            assert book.left(who) == expected
            if expected:
                book.settle(await book.reserve(who, reservation(expected)), entry(expected))
            assert book.left(who) == 0
            clock.now += DAY
        clock.now = NOON + 10 * DAY  # 1 December
        assert book.left(who) == 100


async def test_over_midnight_a_request_counts_on_the_day_on_which_it_ends(tmp_path: Path) -> None:
    clock = Clock()
    who = account(Limits(day=100))
    async with opened(tmp_path, clock) as book:
        hold = await book.reserve(who, reservation(100))
        clock.now += DAY
        assert book.left(who) == 0, "it may still cost all of it, today"
        book.settle(hold, entry(40))
        assert book.left(who) == 60
    async with opened(tmp_path, clock) as book:
        assert book.left(who) == 60


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, Spent(70, 70, 7, 7)), (1, Spent(0, 70, 0, 7)), (10, Spent())],
    ids=["the same day", "a new day", "a new month"],
)
async def test_midnight_while_the_book_is_opened(
    tmp_path: Path, days: int, expected: Spent
) -> None:
    who = account(Limits(day=100))
    async with opened(tmp_path) as book:
        book.record(entry(70, 7))
    clock = Clock()

    def strike() -> None:
        clock.now = NOON + days * DAY
        book.left(who)  # somebody asks, and it sees the clock

    def look() -> float:
        """What opens the book has asked, and is not told before `strike`."""
        asyncio.get_running_loop().call_soon(strike)
        return NOON

    book = Book(book.path, clock)
    book._backlog._clock = look
    await book.start()
    assert book.spent(who.parties[0]) == expected
    await book.close()


async def test_a_clock_that_steps_back_refills_nothing(tmp_path: Path) -> None:
    clock = Clock()
    who = account(Limits(day=100, month=150))
    async with opened(tmp_path, clock) as book:
        book.settle(await book.reserve(who, reservation(100)), entry(100))
        for back in (DAY, 40 * DAY, 400 * DAY):
            clock.now = NOON - back
            assert book.left(who) == 0
        assert "the clock has gone back by 400 days" in book.health.alarm
    async with opened(tmp_path, clock) as book:
        assert book.left(who) == 0
        clock.now = NOON + DAY
        assert book.left(who) == 50
        assert book.health.alarm == ""


async def test_a_shadow_copy_counts_for_its_route_and_for_all(tmp_path: Path) -> None:
    who = shadow_account(Route("try", Match(), shadow=Shadow("cloud/x", 5.0, 100)), Router())
    async with opened(tmp_path) as book:
        hold = await book.reserve(who, reservation(100))
        with pytest.raises(BudgetExceeded, match="shadow try"):
            await book.reserve(who, reservation(1))
        book.settle(hold, replace(entry(60, final=False), shadow="try"))
        await book.reserve(who, reservation(40))
    async with opened(tmp_path) as book:
        assert [book.spent(party).day for party in who] == [100, 100]
        assert book.spent(account().parties[0]).day == 0, "no key pays for it"


async def test_nothing_that_was_said_is_in_the_book_unless_it_is_to_be_kept(tmp_path: Path) -> None:
    canary = b"the-canary-sings"
    async with opened(tmp_path) as book:
        hold = await book.reserve(account(), reservation(1, body=canary * 3))
        book.settle(hold, entry(1))
        await written(book)
        folder = book.path.parent
        assert not [one for one in folder.iterdir() if canary in one.read_bytes()]
        book.keep_text(Text(NOON, "r", "k", canary, "an answer"))
        await written(book)
        assert rows(book, "SELECT request_id, key_id, request, answer FROM text") == [
            ("r", "k", canary, "an answer")
        ]


async def test_one_process_writes_a_book(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        async with opened(tmp_path) as second:
            assert not second.health.open
            assert "is being written by process" in second.health.alarm
            with pytest.raises(LedgerUnavailable):
                await second.reserve(account(), reservation(1))
            second.record(entry(0, 5, route="local"))
        await first.reserve(account(), reservation(1))


@pytest.mark.parametrize("absurd", [{"usage": Usage(2**70, 0)}, {"reason": None}], ids=str)
async def test_rows_that_cannot_be_written_do_not_stand_in_the_way(
    tmp_path: Path, absurd: dict[str, Any]
) -> None:
    async with opened(tmp_path) as book:
        book.record(replace(entry(0, 1, "absurd", route="local"), **absurd))
        await written(book)
        book.record(entry(0, 1, "good", route="local"))
        await written(book)
        assert rows(book, "SELECT request_id FROM entry") == [("good",)]
        assert book.health.lost == 1
        await book.reserve(account(), reservation(1))


async def test_a_row_that_cannot_be_written_takes_no_other_with_it(tmp_path: Path) -> None:
    who = account(Limits(day=1000))
    async with opened(tmp_path) as book:
        holds = {name: await book.reserve(who, reservation(9, name=name)) for name in "abcde"}
        for name, hold in holds.items():
            book.settle(hold, entry(7, 2**70 if name == "c" else 1, name))
        book.keep_text(Text(NOON, "a", "k", b"said", "told"))
        absurd, *fine = await asyncio.gather(
            *(book.reserve(who, reservation(1, 2**70 * (i == 0), f"r{i}")) for i in range(5)),
            return_exceptions=True,
        )
        await written(book)
        assert isinstance(absurd, LedgerUnavailable)
        assert all(isinstance(hold, Hold) for hold in fine)
        assert rows(book, "SELECT request_id FROM entry ORDER BY 1") == [*zip("abde", strict=True)]
        assert rows(book, "SELECT request_id FROM hold WHERE cost = 9") == [("c",)]
        assert rows(book, "SELECT request_id FROM text") == [("a",)]
        assert book.health.lost == 1
        assert book.is_open
        assert fault(book) is None
        assert book.spent(who.parties[0]).day == 5 * 7
    async with opened(tmp_path) as book:
        assert book.spent(who.parties[0]).day == 4 * 7 + 9 + 4, "what is lost costs what was held"


async def test_texts_that_cannot_be_written_are_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / "ledger"
    obstacle.write_text("a file where the folder should be")
    said = b"x" * MIB
    async with opened(tmp_path) as book:
        for number in range(200):
            book.keep_text(Text(NOON, f"r{number}", "k", said, "é"))
        assert (book.health.waiting, book.health.lost) == (63, 137)
        book.record(entry(0, 1, route="local"))
        obstacle.unlink()
        await written(book)
        assert rows(book, "SELECT COUNT(*), SUM(LENGTH(request)) FROM text") == [(63, 63 * MIB)]
        book.keep_text(Text(NOON, "long", "k", b"", "x" * 17 * MIB))  # more than all that may wait
        book.keep_text(Text(NOON, "one too many", "k", said, ""))
        await written(book)
        book.keep_text(Text(NOON, "again", "k", said, ""))
        await written(book)
        assert book.health.lost == 138
        assert rows(book, "SELECT request_id FROM text ORDER BY rowid DESC LIMIT 2") == [
            ("again",), ("long",)
        ]  # fmt: skip
    dropped = [one for one in caplog.messages if "keep_text" in one]
    assert len(dropped) == 2, "once for each time that its disk did not keep up"
    assert "63.0 MiB of it wait" in dropped[0]


async def test_what_cannot_be_written_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    async with opened(tmp_path) as book:
        assert "cannot be written" in book.health.alarm
        for _ in range(50_100):
            book.record(entry(0, 1, route="local"))
        assert (book.health.waiting, book.health.lost) == (50_000, 100)
        assert book.spent(account().parties[0]).tokens_day == 50_100


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        pytest.param("DELETE FROM egress WHERE seq = 3", 3, id="the last row is gone"),
        pytest.param("DELETE FROM egress", 1, id="all are gone"),
        pytest.param("DELETE FROM meta", 4, id="the head is gone"),
        pytest.param("UPDATE egress SET chain = 'x' WHERE seq = 3", 3, id="the end is changed"),
        pytest.param("UPDATE egress SET chain = x'00' WHERE seq = 3", 3, id="the end is no text"),
    ],
)
async def test_a_log_that_was_cut_while_nobody_served_never_looks_whole_again(
    tmp_path: Path, change: str, seq: int
) -> None:
    async with opened(tmp_path) as book:
        for number in range(3):
            await book.reserve(account(), reservation(1, name=f"r{number}"))
        assert fault(book) is None
    with contextlib.closing(sqlite3.connect(book.path, isolation_level=None)) as other:
        other.execute(change)
    for _ in range(2):
        async with opened(tmp_path) as book:
            await book.reserve(account(), reservation(1, name="later"))
            found = fault(book)
            assert found is not None
            assert found.seq == seq


async def test_a_log_that_was_cut_is_an_alarm(tmp_path: Path) -> None:
    async with opened(tmp_path) as book:
        await book.reserve(account(), reservation(1))
        assert book.health.alarm == ""
    (tmp_path / "ledger" / "book.db.secret").unlink()
    async with opened(tmp_path) as book:
        assert "the log of what left is not as Holdfast left it" in book.health.alarm
        assert book.is_open, "what was spent is known all the same"


def fault(book: Book) -> Fault | None:
    with reading(book.path) as connection:
        return verify(read_secret(book.path), list(departures(connection)), head(connection))
