"""The ledger: who spent what, written down before a request leaves for a cloud.

The event loop decides and a thread writes (`backlog.py`). Every sum is kept in memory, so that a
reservation is checked and counted in one step, before anything is awaited: requests at once cannot
use the same money. `reserve` returns once its row is on the disk.

When the book cannot be written, clouds are refused (LedgerUnavailable) and local requests go on.
After a kill, what was reserved and not settled counts as spent in full.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.ledger.account import Account, Party
from server.ledger.backlog import Backlog
from server.ledger.balance import Balance, parties_of
from server.ledger.entry import Entry, Reservation
from server.ledger.limits import Room, Spent, day_of
from server.ledger.recovery import Found
from server.ledger.rows import Text
from server.ledger.schema import sqlite_warning

log = logging.getLogger("holdfast.ledger")

_LOG_CHANGED = (
    "the log of what left is not as Holdfast left it: `holdfast usage verify-egress` says where"
)


class Hold:
    """Money and tokens that are set aside for one attempt. Ends once, by `settle` or `release`."""

    __slots__ = ("account", "cost", "durable", "id", "open", "tokens")

    def __init__(self, id_: int, account: Account, cost: int, tokens: int, durable: bool) -> None:
        self.id = id_
        self.account = account
        self.cost = cost
        self.tokens = tokens
        self.durable = durable
        """Whether it has a row in the book; those of local requests are in memory only."""
        self.open = True


@dataclass(frozen=True, slots=True)
class Health:
    """How the book is, for people and metrics."""

    open: bool
    """Whether it can be written: whether clouds may be used."""
    alarm: str
    """What a person has to know; empty: nothing."""
    waiting: int
    """Rows that are not on the disk yet."""
    lost: int
    """Entries, and texts to be kept, that had to be dropped."""
    overruns: int
    """Requests that cost more than was reserved for them."""
    interrupted: int
    """Requests of an earlier process that were settled at their maximum at the start."""


class Book:
    """The book in the file at `path`. Belongs to one event loop; `start` comes first.

    `clock`: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._balance = Balance()
        self._balance.advance(day_of(clock()))
        self._backlog = Backlog(path, clock, self._restore)
        self._last_id = 0
        self._restored = False
        self._log_is_whole = True
        self._overruns = self._interrupted = 0

    async def start(self) -> None:
        """Open the book, settle what a dead process left, and count what is spent.

        Raises nothing: a book that cannot be opened closes the clouds and shows in `health`.
        """
        if (warning := sqlite_warning()) is not None:
            log.debug("%s", warning)
        await self._backlog.start()

    async def close(self) -> None:
        """Write what waits, if that can be done, and let go of the file."""
        await self._backlog.close()

    def check(self, account: Account, cost: int, tokens: int) -> None:
        """Raises BudgetExceeded where the account's budgets do not allow so much more."""
        now = self._clock()
        self._balance.advance(day_of(now))
        if (error := self._balance.refusal(account, cost, tokens, now)) is not None:
            raise error

    def left(self, account: Account) -> int | None:
        """Nano-USD that the account may still spend; None: as much as it likes."""
        self._balance.advance(day_of(self._clock()))
        return self._balance.left(account)

    def room(self, account: Account) -> Room:
        """The same in tokens as well."""
        self._balance.advance(day_of(self._clock()))
        return self._balance.room(account)

    def spent(self, party: Party) -> Spent:
        self._balance.advance(day_of(self._clock()))
        return self._balance.spent(party)

    async def reserve(self, account: Account, reservation: Reservation) -> Hold:
        """Set aside the most that an attempt at a cloud can cost, and write down what leaves.

        When it returns, both are on the disk, and the request may be sent. Raises BudgetExceeded,
        or LedgerUnavailable when it cannot be written; nothing is set aside then, nor when the
        caller is cancelled.
        """
        self._backlog.check()
        self.check(account, reservation.cost, reservation.tokens)
        hold = self._hold(account, reservation.cost, reservation.tokens, durable=True)
        try:
            await self._backlog.reserve(hold.id, self._balance.day, account, reservation)
        except BaseException:
            self.release(hold)
            raise
        return hold

    def claim(self, account: Account, tokens: int) -> Hold:
        """Set tokens aside for a local request, in memory. Raises BudgetExceeded."""
        self.check(account, 0, tokens)
        return self._hold(account, 0, tokens, durable=False)

    def settle(self, hold: Hold, entry: Entry) -> None:
        """End a hold with what the attempt did cost. Only the first end of a hold counts."""
        if hold.open:
            if hold.durable and entry.cost > hold.cost:
                self._overruns += 1
                log.warning(
                    "%s cost %d nano-USD, and %d were reserved",
                    entry.model, entry.cost, hold.cost,
                )  # fmt: skip
            self._free(hold)
            self._charge(entry, hold.id if hold.durable else None)

    def release(self, hold: Hold) -> None:
        """End a hold for which nothing is charged: the provider refused, or nothing was sent."""
        if hold.open:
            self._free(hold)
            if hold.durable:
                self._backlog.release(hold.id)

    def record(self, entry: Entry) -> None:
        """Count and keep an entry; never waits. It is on the disk a moment later."""
        self._charge(entry, None)

    def keep_text(self, text: Text) -> None:
        """Keep what was said, for a key with `keep_text`."""
        self._backlog.add_text(text)

    @property
    def is_open(self) -> bool:
        """Whether it can be written, as far as is known: whether clouds may be asked."""
        return self._backlog.trouble is None

    @property
    def health(self) -> Health:
        return Health(
            open=self.is_open,
            alarm=self._alarm(),
            waiting=len(self._backlog),
            lost=self._backlog.lost,
            overruns=self._overruns,
            interrupted=self._interrupted,
        )

    def _alarm(self) -> str:
        if (trouble := self._backlog.trouble) is not None:
            return trouble.sentence
        if not self._log_is_whole:
            return _LOG_CHANGED
        behind = self._balance.day - day_of(self._clock())
        if behind > 1:
            return f"the clock has gone back by {behind} days: no budget begins anew before then"
        return ""

    def _hold(self, account: Account, cost: int, tokens: int, *, durable: bool) -> Hold:
        self._last_id += 1
        self._balance.hold(account, cost, tokens)
        return Hold(self._last_id, account, cost, tokens, durable)

    def _free(self, hold: Hold) -> None:
        hold.open = False
        self._balance.hold(hold.account, -hold.cost, -hold.tokens)

    def _charge(self, entry: Entry, hold: int | None) -> None:
        self._balance.advance(day_of(self._clock()))
        self._balance.charge(
            parties_of(entry.key_id, entry.team, entry.shadow), entry.cost, entry.usage.total_tokens
        )
        self._backlog.add(self._balance.day, entry, hold)

    def _restore(self, found: Found) -> None:
        """Count what the book says, once: what came since is counted already.

        It may be a later day by now than the book was opened on.
        """
        self._balance.advance(found.day)
        if not found.log_is_whole:
            self._log_is_whole = False
            log.error("%s", _LOG_CHANGED)
        if not self._restored:
            self._restored = True
            self._interrupted = found.interrupted
            for party, spent in found.spent.items():
                self._balance.add(party, spent, found.day)
