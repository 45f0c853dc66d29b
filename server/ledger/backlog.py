"""What waits to be written into the book, and the thread that writes it.

A reservation is written at once, together with all that waits; what comes meanwhile is gathered and
shares the next flush. The rest goes along, or a quarter of a second later. What cannot be written
is kept, up to a bound, and tried again every second; only reservations fail then, since somebody
waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path

from server.errors import LedgerUnavailable
from server.ledger.account import Account
from server.ledger.entry import Entry, Reservation
from server.ledger.recovery import Found
from server.ledger.rows import Text
from server.ledger.writer import Batch, Writer
from server.units import MIB, format_bytes

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
_TEXTS = 64 * MIB
"""Bytes of the texts among them at most."""


class Backlog:
    """Belongs to one event loop. `on_open` hears what a book holds each time that one is opened."""

    def __init__(
        self, path: Path, clock: Callable[[], float], on_open: Callable[[Found], None]
    ) -> None:
        self._clock = clock
        self._on_open = on_open
        self._writer = Writer(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._batch = Batch()
        self._waiting: list[asyncio.Future[None]] = []
        """One for each reservation of `_batch`."""
        self._in_hand = 0
        self._texts = 0
        """Bytes of the texts that are not on the disk yet."""
        self._holds: set[int] = set()
        """Those that have a row in the book, as far as is known."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.trouble: LedgerUnavailable | None = LedgerUnavailable("the ledger is not open yet")
        """Why it cannot be written, if it cannot."""
        self._told = False
        """Whether the log has that."""
        self._texts_told = False
        """Whether the log has that texts are dropped."""
        self.lost = 0
        """Entries and texts that were dropped."""

    def __len__(self) -> int:
        """Rows that are not on the disk yet."""
        return len(self._batch) + self._in_hand

    async def start(self) -> None:
        """Open the book; `trouble` says whether that was possible."""
        await self._flush_soon()

    async def close(self) -> None:
        """Write what waits, if that can be done, and let go of the file."""
        while self._task is not None or self._batch:
            await self._flush_soon()
            if self.trouble is not None:
                break
        self._closing = True
        self._cancel_timer()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown(wait=False)

    async def reserve(self, hold: int, day: int, account: Account, wanted: Reservation) -> None:
        """Return when it is on the disk. Raises LedgerUnavailable."""
        written = asyncio.get_running_loop().create_future()
        self._batch.reservations.append((hold, day, account, wanted))
        self._waiting.append(written)
        self._flush_soon()
        try:
            async with asyncio.timeout(_PATIENCE):
                await written
        except TimeoutError:
            raise LedgerUnavailable(
                "the ledger's disk does not answer", next_step="Retry later", retry_after=5
            ) from None

    def check(self) -> None:
        """Raises LedgerUnavailable where a reservation would be in vain."""
        if self.trouble is not None:
            raise _refused()
        if len(self._waiting) >= _RESERVATIONS:
            raise LedgerUnavailable("too many requests wait for the ledger", retry_after=1)

    def release(self, hold: int) -> None:
        """A hold ends without an entry."""
        self._batch.released.append(hold)
        self._flush_later()

    def add(self, day: int, entry: Entry, hold: int | None) -> None:
        """An entry, booked on `day`, which ends `hold`, if that is any: both are written at once,
        so that what cannot be written as an entry counts as held."""
        if len(self._batch) >= _KEPT and entry.route == "local":
            self.lost += 1  # those of clouds are few then: none is reserved any more
            return
        self._batch.entries.append((day, entry, hold))
        self._flush_later()

    def add_text(self, text: Text) -> None:
        """What was said; dropped where too much of it waits. One alone is never too much."""
        size = text.size
        if len(self._batch) >= _KEPT or (self._texts and self._texts + size > _TEXTS):
            self.lost += 1
            if not self._texts_told:
                self._texts_told = True
                log.error(
                    "what keys with keep_text say is not kept: %s of it wait for the ledger's disk",
                    format_bytes(self._texts),
                )
            return
        self._texts += size
        self._batch.texts.append(text)
        self._flush_later()

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
                self._in_hand = len(batch)
                await self._write(batch, waiting)
                self._in_hand = 0
                if not self._waiting:
                    return
        finally:
            self._in_hand = 0
            self._task = None
            if self.trouble is not None:
                self._flush_later(_RETRY)
            elif self._batch:
                self._flush_later()

    async def _write(self, batch: Batch, waiting: list[asyncio.Future[None]]) -> None:
        """Write it; in ever smaller parts where a row of it cannot be written, which alone is lost:
        it would stand in the way of all others for ever."""
        halves = None
        try:
            await self._in_thread(batch)
        except LedgerUnavailable as error:
            if self.trouble is None or self.trouble.sentence != error.sentence:
                log.error("%s", error.sentence)
            self.trouble, self._told = error, True
            # Reservations have failed; what has happened stays to be written.
            self._batch.released[:0] = batch.released
            self._batch.entries[:0] = batch.entries
            self._batch.texts[:0] = batch.texts
        except Exception:
            if len(batch) > 1 and self._writer.is_open:  # else it was no row's fault
                halves = batch.halves()
            else:
                # A hold that it would have ended stays open in the book, and so counts in full.
                log.exception("%d rows for the ledger are lost", len(batch))
                self.lost += len(batch.entries) + len(batch.texts)
                self._texts -= sum(text.size for text in batch.texts)
        else:
            if self._told:
                log.warning("the ledger is written again: clouds may be asked")
            self.trouble, self._told, self._texts_told = None, False, False
            self._texts -= sum(text.size for text in batch.texts)
            _end(waiting, None)
            return
        if halves is None:
            _end(waiting, _refused())
            return
        count = len(halves[0].reservations)
        await self._write(halves[0], waiting[:count])
        await self._write(halves[1], waiting[count:])

    async def _in_thread(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        now = self._clock()
        if not self._writer.is_open:
            live = frozenset(self._holds)
            self._on_open(await loop.run_in_executor(self._thread, self._writer.open, now, live))
        if batch or self.trouble is not None:  # an empty one shows whether it can be written
            self._holds.update(hold for hold, *_ in batch.reservations)
            await loop.run_in_executor(self._thread, self._writer.write, batch, now)
            self._holds.difference_update(batch.ended)


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
