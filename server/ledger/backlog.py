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
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.trouble: LedgerUnavailable | None = LedgerUnavailable("the ledger is not open yet")
        """Why it cannot be written, if it cannot."""
        self._told = False
        """Whether the log has that."""
        self.lost = 0
        """Entries that were dropped."""

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

    def end(self, hold: int) -> None:
        """A hold is no longer."""
        self._batch.ended.append(hold)
        self._flush_later()

    def add(self, day: int, entry: Entry) -> None:
        """An entry, booked on `day`."""
        if len(self._batch) >= _KEPT and entry.route == "local":
            self.lost += 1  # those of clouds are few then: none is reserved any more
            return
        self._batch.entries.append((day, entry))
        self._flush_later()

    def add_text(self, text: Text) -> None:
        if len(self._batch) < _KEPT:
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
                if not self._waiting:
                    return
        finally:
            self._task = None
            if self.trouble is not None:
                self._flush_later(_RETRY)
            elif self._batch:
                self._flush_later()

    async def _write(self, batch: Batch, waiting: list[asyncio.Future[None]]) -> None:
        try:
            await self._in_thread(batch)
        except LedgerUnavailable as error:
            if self.trouble is None or self.trouble.sentence != error.sentence:
                log.error("%s", error.sentence)
            self.trouble, self._told = error, True
            # Reservations have failed; what has happened stays to be written.
            self._batch.ended[:0] = batch.ended
            self._batch.entries[:0] = batch.entries
            self._batch.texts[:0] = batch.texts
        except Exception:
            # A row that cannot be written would stand in the way of all others for ever. What the
            # batch would have ended stays open in the book, and so counts in full.
            log.exception("%d rows for the ledger are lost", len(batch))
            self.lost += len(batch.entries)
        else:
            if self._told:
                log.warning("the ledger is written again: clouds may be asked")
            self.trouble, self._told = None, False
            _end(waiting, None)
            return
        finally:
            self._in_hand = 0
        _end(waiting, _refused())

    async def _in_thread(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        now = self._clock()
        if not self._writer.is_open:
            self._on_open(await loop.run_in_executor(self._thread, self._writer.open, now))
        if batch or self.trouble is not None:  # an empty one shows whether it can be written
            await loop.run_in_executor(self._thread, self._writer.write, batch, now)


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
