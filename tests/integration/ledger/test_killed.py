"""The ledger's process killed at random points, as by kill -9.

After each death the file is whole; each reservation that had returned is there, at what it was
settled for or at its maximum, and once; and the budget is not overspent. 1,000 deaths where there
is time for them (HOLDFAST_TEST_SECONDS=120), 100 at least.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from server.ledger.companions import read_secret
from server.ledger.egress_log import EGRESS_COLUMNS, Departure, verify
from server.ledger.schema import connect
from tests.integration.ledger.spender import BUDGET, live_and_die

pytestmark = pytest.mark.integration

DEATHS = 1000
DEATHS_AT_LEAST = 100
SECONDS = float(os.environ.get("HOLDFAST_TEST_SECONDS", "15"))
DEATHS_OF_A_BOOK = 40
LONGEST_LIFE = 0.03
"""Seconds."""
EARLY = 0.3
"""As many die at the beginning of their lives."""


class Witness:
    """What the processes of one book were promised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reserved: dict[str, int] = {}
        self.ended: dict[str, int | None] = {}
        """What each was about to be settled for; None: released."""
        self.spent = 0
        """What the book had to say at the next start."""

    def hear(self, said: str) -> None:
        for line in said.splitlines(keepends=True):
            if not line.endswith("\n"):
                return  # killed in the middle of a word
            kind, *words = line.split()
            if kind == "B":
                assert int(words[0]) == self.spent
            elif kind == "R":
                self.reserved[words[0]] = int(words[1])
            else:
                self.ended[words[0]] = int(words[1]) if kind == "S" else None

    def look(self) -> None:
        path = self.folder / "book.db"
        if not path.exists():
            assert not self.reserved
            return
        with contextlib.closing(connect(path, read_only=True)) as book:
            assert book.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            entries = book.execute(
                "SELECT request_id, cost, outcome FROM entry WHERE route = 'cloud'"
            ).fetchall()
            holds = book.execute("SELECT request_id, cost FROM hold").fetchall()
        self.spent = sum(cost for _, cost, _ in entries) + sum(cost for _, cost in holds)
        assert self.spent <= BUDGET
        found = [name for name, *_ in entries + holds]
        assert len(set(found)) == len(found), "something was charged twice"
        settled = {name: cost for name, cost, outcome in entries if outcome == "answered"}
        at_most = dict(holds) | {
            name: cost for name, cost, outcome in entries if outcome == "interrupted"
        }
        for name, most in self.reserved.items():
            if name in at_most:
                assert at_most[name] == most
            elif name in settled:
                assert settled[name] == self.ended[name]
            else:
                assert self.ended[name] is None, f"{name} was reserved, and is nowhere"

    def look_at_what_left(self) -> None:
        path = self.folder / "book.db"
        columns = ", ".join(EGRESS_COLUMNS)
        with contextlib.closing(connect(path, read_only=True)) as book:
            rows = book.execute(f"SELECT {columns} FROM egress ORDER BY seq").fetchall()
            (head,) = book.execute("SELECT value FROM meta").fetchone()
        departures = [Departure(*row) for row in rows]
        assert verify(read_secret(path), departures, head) is None
        assert {one.request_id for one in departures} >= set(self.reserved)


def kill_one(witness: Witness, life: int, choice: random.Random) -> None:
    reading, writing = os.pipe()
    seed, early = choice.getrandbits(32), choice.random() < EARLY
    seconds = choice.uniform(0.0005, LONGEST_LIFE)
    child = os.fork()
    if child == 0:
        os.close(reading)
        live_and_die(witness.folder, writing, life, seed, seconds, early)
    os.close(writing)
    with open(reading) as said:
        words = said.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGALRM
    witness.hear(words)


def test_at_every_death_the_book_balances(tmp_path: Path) -> None:
    choice = random.Random(5)
    began = time.monotonic()
    witness = Witness(tmp_path / "0")
    promised = 0
    for death in range(DEATHS):
        if death >= DEATHS_AT_LEAST and time.monotonic() - began > SECONDS:
            break
        if death % DEATHS_OF_A_BOOK == 0:
            witness = Witness(tmp_path / str(death))
        kill_one(witness, death, choice)
        witness.look()
        if death % DEATHS_OF_A_BOOK == DEATHS_OF_A_BOOK - 1:
            witness.look_at_what_left()
            promised += len(witness.reserved)
    print(f"{death} deaths, {promised} reservations")
    assert promised > DEATHS_AT_LEAST / 2, "most died before they could spend anything"
