"""A process that spends until it is killed: what it was promised it tells first, line by line.

R NAME COST   a reservation has returned: it is on the disk
S NAME COST   it is about to be settled at this cost
X NAME        it is about to be released
B SPENT       what the book says was spent, once it is open
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from server.catalogue.router import Limits
from server.errors import BudgetExceeded, LedgerUnavailable
from server.ledger.book import Book
from tests.ledger.money import account, entry, reservation

BUDGET = 12_000
AT_ONCE = 12


async def spend(folder: Path, told: int, life: int, seed: int, late: float | None) -> None:
    choice = random.Random(seed)
    who = account(Limits(day=BUDGET))
    book = Book(folder / "book.db", lambda: 1_795_262_400.0)

    def tell(*words: object) -> None:
        os.write(told, (" ".join(map(str, words)) + "\n").encode())

    def count_down() -> None:
        """From the first answer on, be it yes or no."""
        if late is not None and signal.getitimer(signal.ITIMER_REAL)[0] == 0:
            signal.setitimer(signal.ITIMER_REAL, late)

    async def one(number: int) -> None:
        turn = 0
        while True:
            turn += 1
            name, cost = f"{life}-{number}-{turn}", choice.randint(1, 60)
            try:
                hold = await book.reserve(who, reservation(cost, name=name, body=b"x" * cost))
            except BudgetExceeded:
                count_down()
                book.record(entry(0, cost, f"local {name}", route="local"))
                await asyncio.sleep(0.002)
                continue
            except LedgerUnavailable:  # a disk that did not answer for a while: no promise
                count_down()
                continue
            tell("R", name, cost)
            count_down()
            if choice.random() < 0.5:
                await asyncio.sleep(choice.random() / 200)
            if choice.random() < 0.2:
                tell("X", name)
                book.release(hold)
            else:
                paid = choice.randint(0, cost)
                tell("S", name, paid)
                book.settle(hold, entry(paid, cost, name))

    await book.start()
    assert book.health.open, book.health.alarm
    tell("B", book.spent(who.parties[0]).day)
    await asyncio.gather(*(one(number) for number in range(AT_ONCE)))


def live_and_die(
    folder: Path, told: int, life: int, seed: int, seconds: float, early: bool
) -> None:
    """Never returns: a timer of the kernel's ends the process, between any two instructions.

    It is set `seconds` after the beginning, or after the first answer unless `early`: some die
    while the book is being made or opened, and however slow a machine is, most spend something.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if early:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        asyncio.run(spend(folder, told, life, seed, None if early else seconds))
    finally:
        os._exit(1)  # only a mistake leads here
