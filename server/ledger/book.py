"""The ledger: who spent what, written down before a request leaves for a cloud.

The event loop decides and a thread writes. Every sum is kept in memory, so that a reservation is
checked and counted in one step, before anything is awaited: requests at once cannot use the same
money. Then its row is written, and `reserve` returns once that is on the disk; what comes meanwhile
is gathered and shares the next flush. What need not be on the disk at once (the entries of local
requests, what was settled) goes along with the next flush, or a quarter of a second later.

When the book cannot be written, clouds are refused (LedgerUnavailable) and local requests go on:
their entries are kept, up to a bound, and written when it can be done again. After a kill, what was
reserved and not settled counts as spent in full.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from server.errors import LedgerUnavailable
from server.ledger.account import Account, Party
from server.ledger.balance import Balance, parties_of
from server.ledger.entry import Entry, Reservation
from server.ledger.limits import Spent, day_of
from server.ledger.rows import Text
from server.ledger.schema import sqlite_warning
from server.ledger.writer import Batch, Found, Writer

log = logging.getLogger("holdfast.ledger")

_GATHER = 0.25
"""Seconds that an entry waits for others."""
_RETRY = 1.0
"""Seconds after which a book that could not be written is tried again."""
_PATIENCE = 10.0
"""Seconds that a reservation waits for the disk."""
_RESERVATIONS = 10_000
_KEPT = 50_000
"""Rows that wait at most, the second also while the disk is full: about 50 MB."""


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
    """Entries of local requests that had to be dropped."""
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
        self._writer = Writer(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._batch = Batch()
        self._waiting: list[asyncio.Future[None]] = []
        """One for each reservation of `_batch`."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_id = 0
        self._restored = self._closing = False
        self._trouble: LedgerUnavailable | None = LedgerUnavailable("the ledger is not open yet")
        self._lost = self._overruns = self._interrupted = 0

    async def start(self) -> None:
        """Open the book, settle what a dead process left, and count what is spent.

        Raises nothing: a book that cannot be opened closes the clouds and shows in `health`.
        """
        if (warning := sqlite_warning()) is not None:
            log.debug("%s", warning)
        await self._flush_soon()

    async def close(self) -> None:
        """Write what waits, if that can be done, and let go of the file."""
        while self._task is not None or self._batch:
            await self._flush_soon()
            if self._trouble is not None:
                break
        self._closing = True
        self._cancel_timer()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown(wait=False)

    # ---- Spending ----

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

    def spent(self, party: Party) -> Spent:
        self._balance.advance(day_of(self._clock()))
        return self._balance.spent(party)

    async def reserve(self, account: Account, reservation: Reservation) -> Hold:
        """Set aside the most that an attempt at a cloud can cost, and write down what leaves.

        When it returns, both are on the disk, and the request may be sent. Raises BudgetExceeded,
        or LedgerUnavailable when it cannot be written; nothing is set aside then, nor when the
        caller is cancelled.
        """
        if self._trouble is not None:
            raise _refused()
        if len(self._waiting) >= _RESERVATIONS:
            raise LedgerUnavailable("too many requests wait for the ledger", retry_after=1)
        self.check(account, reservation.cost, reservation.tokens)
        hold = self._hold(account, reservation.cost, reservation.tokens, durable=True)
        written = asyncio.get_running_loop().create_future()
        self._batch.reservations.append((hold.id, self._balance.day, account, reservation))
        self._waiting.append(written)
        self._flush_soon()
        try:
            async with asyncio.timeout(_PATIENCE):
                await written
        except TimeoutError:
            self.release(hold)
            raise LedgerUnavailable(
                "the ledger's disk does not answer", next_step="Retry later", retry_after=5
            ) from None
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
            self.release(hold)
            self.record(entry)

    def release(self, hold: Hold) -> None:
        """End a hold for which nothing is charged: the provider refused, or nothing was sent."""
        if hold.open:
            hold.open = False
            self._balance.hold(hold.account, -hold.cost, -hold.tokens)
            if hold.durable:
                self._batch.ended.append(hold.id)
                self._flush_later()

    def record(self, entry: Entry) -> None:
        """Count and keep an entry; never waits. It is on the disk a moment later."""
        self._balance.advance(day_of(self._clock()))
        self._balance.charge(
            parties_of(entry.key_id, entry.team, entry.shadow), entry.cost, entry.usage.total_tokens
        )
        if len(self._batch) >= _KEPT and entry.route == "local":
            self._lost += 1  # those of clouds are few then: none is reserved any more
            return
        self._batch.entries.append((self._balance.day, entry))
        self._flush_later()

    def keep_text(self, text: Text) -> None:
        """Keep what was said, for a key with `keep_text`."""
        if len(self._batch) < _KEPT:
            self._batch.texts.append(text)
            self._flush_later()

    @property
    def is_open(self) -> bool:
        """Whether it can be written, as far as is known: whether clouds may be asked."""
        return self._trouble is None

    @property
    def health(self) -> Health:
        alarm = "" if self._trouble is None else self._trouble.sentence
        behind = self._balance.day - day_of(self._clock())
        if not alarm and behind > 1:
            alarm = f"the clock has gone back by {behind} days: no budget begins anew before then"
        return Health(
            self.is_open, alarm, len(self._batch), self._lost, self._overruns,
            self._interrupted,
        )  # fmt: skip

    # ---- Writing ----

    def _hold(self, account: Account, cost: int, tokens: int, *, durable: bool) -> Hold:
        self._last_id += 1
        self._balance.hold(account, cost, tokens)
        return Hold(self._last_id, account, cost, tokens, durable)

    def _flush_soon(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = asyncio.ensure_future(self._flush())
        return self._task

    def _flush_later(self, delay: float = _GATHER) -> None:
        if self._timer is None and self._task is None and not self._closing:
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._flush_soon()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _flush(self) -> None:
        """Write what waits, and what comes meanwhile that cannot wait."""
        self._cancel_timer()
        try:
            while True:
                batch, self._batch = self._batch, Batch()
                waiting, self._waiting = self._waiting, []
                await self._write(batch, waiting)
                if not self._waiting:
                    return
        finally:
            self._task = None
            if self._trouble is not None:
                self._flush_later(_RETRY)
            elif self._batch:
                self._flush_later()

    async def _write(self, batch: Batch, waiting: list[asyncio.Future[None]]) -> None:
        try:
            await self._in_thread(batch)
        except LedgerUnavailable as error:
            if self._trouble is None or self._trouble.sentence != error.sentence:
                log.error("%s", error.sentence)
            self._trouble = error
            # Reservations have failed; what has happened stays to be written.
            self._batch.ended[:0] = batch.ended
            self._batch.entries[:0] = batch.entries
            self._batch.texts[:0] = batch.texts
        except Exception:
            # A row that cannot be written would stand in the way of all others for ever. What the
            # batch would have ended stays open in the book, and so counts in full.
            log.exception("%d rows for the ledger are lost", len(batch))
            self._lost += len(batch.entries)
        else:
            self._trouble = None
            _end(waiting, None)
            return
        _end(waiting, _refused())

    async def _in_thread(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        now = self._clock()
        if not self._writer.is_open:
            self._restore(await loop.run_in_executor(self._thread, self._writer.open, now))
        if batch or self._trouble is not None:
            await loop.run_in_executor(self._thread, self._writer.write, batch, now)

    def _restore(self, found: Found) -> None:
        """Count what the book says, once: what came since is counted already."""
        self._balance.advance(found.day)
        if not self._restored:
            self._restored = True
            self._interrupted = found.interrupted
            for party, spent in found.spent.items():
                self._balance.add(party, spent)


def _end(waiting: list[asyncio.Future[None]], error: LedgerUnavailable | None) -> None:
    for future in waiting:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(copy(error))
            future.exception()  # its task may be cancelled in this very pass, and not look


def _refused() -> LedgerUnavailable:
    """Each its own, since a traceback keeps a request alive; without the paths of this machine."""
    return LedgerUnavailable(
        "what a cloud costs cannot be written down just now, so none is asked",
        next_step="Retry later, or ask for a local model; the server's log says more",
        retry_after=5,
    )
