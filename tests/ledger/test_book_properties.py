"""Any sequence of reservations, ends, days and crashes: the book balances, no budget is overspent.

A crash is a copy of the files as they lie there, opened anew while the old book is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.catalogue.router import Limits
from server.errors import BudgetExceeded
from server.ledger.book import Book, Hold
from server.ledger.companions import read_secret
from server.ledger.egress_log import EGRESS_COLUMNS, Departure, verify
from server.ledger.schema import connect
from tests.ledger.money import DAY, NOON, account, entry, reservation

T = TypeVar("T")
BUDGET = 100


class Ledger(RuleBasedStateMachine):
    @initialize(month=st.sampled_from([150, 10**6]))
    def begin(self, month: int) -> None:
        self.now = NOON
        self.who = account(Limits(day=BUDGET, month=month))
        self.month_limit = month
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp())
        self.lives = 0
        self.given_up: list[Book] = []
        self.day = int(NOON // DAY)
        self.booked: dict[int, int] = {}
        """By day."""
        self.holds: list[tuple[Hold, int]] = []
        """With the day on which each was made."""
        self.departures = 0
        self.open(self.root / "0")

    def open(self, folder: Path) -> None:
        self.book = Book(folder / "book.db", lambda: self.now)
        self.run(self.book.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def held(self) -> int:
        return sum(hold.cost for hold, _ in self.holds)

    @property
    def room(self) -> int:
        month = sum(cost for day, cost in self.booked.items() if in_december(day) == self.december)
        today = self.booked.get(self.day, 0)
        return min(BUDGET - today, self.month_limit - month) - self.held

    @property
    def december(self) -> bool:
        return in_december(self.day)

    @rule(costs=st.lists(st.integers(1, 60), min_size=1, max_size=5))
    def reserve_at_once(self, costs: list[int]) -> None:
        async def ask() -> list[Hold | BaseException]:
            return await asyncio.gather(
                *(self.book.reserve(self.who, reservation(cost)) for cost in costs),
                return_exceptions=True,
            )

        for cost, got in zip(costs, self.run(ask()), strict=True):
            fits = cost <= self.room
            assert isinstance(got, Hold if fits else BudgetExceeded)
            if isinstance(got, Hold):
                self.holds.append((got, self.day))
                self.departures += 1

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        hold, _ = self.holds.pop(data.draw(st.integers(0, len(self.holds) - 1)))
        cost = data.draw(st.integers(0, hold.cost))
        self.charge(cost)
        self.within(lambda: self.book.settle(hold, entry(cost)))

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold, _ = self.holds.pop(data.draw(st.integers(0, len(self.holds) - 1)))
        self.within(lambda: self.book.release(hold))

    @rule(hours=st.integers(-48, 48))
    def pass_time(self, hours: int) -> None:
        self.now += hours * 3600
        self.day = max(self.day, int(self.now // DAY))
        self.within(lambda: self.book.left(self.who))  # it sees the clock

    @rule()
    def crash(self) -> None:
        self.run(self.written())
        self.lives += 1
        shutil.copytree(self.book.path.parent, self.root / str(self.lives))
        self.given_up.append(self.book)
        self.open(self.root / str(self.lives))
        # A day on which nothing was done is not remembered.
        days = [*self.booked, *(day for _, day in self.holds), int(self.now // DAY)]
        self.day = max(days)
        for hold, _ in self.holds:
            self.charge(hold.cost)
        self.holds = []

    @invariant()
    def it_balances(self) -> None:
        if not hasattr(self, "book"):
            return
        assert self.room >= 0, "a budget was overspent"
        assert self.book.left(self.who) == self.room
        spent = self.book.spent(self.who.parties[-1])
        assert (spent.day, spent.held) == (self.booked.get(self.day, 0), self.held)

    def teardown(self) -> None:
        if not hasattr(self, "book"):
            return
        for book in [*self.given_up, self.book]:
            self.run(book.close())
        with contextlib.closing(connect(self.book.path, read_only=True)) as connection:
            (total,) = connection.execute("SELECT COALESCE(SUM(cost), 0) FROM entry").fetchone()
            (held,) = connection.execute("SELECT COALESCE(SUM(cost), 0) FROM hold").fetchone()
            columns = ", ".join(EGRESS_COLUMNS)
            rows = connection.execute(f"SELECT {columns} FROM egress ORDER BY seq").fetchall()
            (head,) = connection.execute("SELECT value FROM meta").fetchone()
        assert (total, held) == (sum(self.booked.values()), self.held)
        departures = [Departure(*row) for row in rows]
        assert len(departures) == self.departures
        assert verify(read_secret(self.book.path), departures, head) is None
        self.loop.close()
        shutil.rmtree(self.root)

    def charge(self, cost: int) -> None:
        self.booked[self.day] = self.booked.get(self.day, 0) + cost

    def within(self, act: Any) -> None:
        """In the loop, as everything of a book is."""

        async def run() -> None:
            act()

        self.run(run())

    async def written(self) -> None:
        while self.book.health.waiting:
            await asyncio.sleep(0.005)


def in_december(day: int) -> bool:
    """Whether it is in December: the tests begin on 21 November, and last some weeks at most."""
    return day >= NOON // DAY + 10


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=15, stateful_step_count=12)
