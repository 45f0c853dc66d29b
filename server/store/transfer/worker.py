"""One connection's worth of work: takes tasks from the board until there are none."""

from __future__ import annotations

import http.client
import threading
from dataclasses import replace
from functools import partial

from server.errors import HoldfastError, HubError, StoreError
from server.store.transfer.answer import Body, Later, Refusal, Stale, Unranged
from server.store.transfer.board import Board, Job, Task
from server.store.transfer.events import Checking, FileDone, FileFailed, FileStarted, Retrying
from server.store.transfer.exchange import Exchange, Line, Place, Terms, told
from server.store.transfer.part import Stretch
from server.store.transfer.want import Fetched
from server.units import KIB, MIB

_PROGRESS = 64 * KIB
"""Bytes after which a source counts as alive again."""
_IGNORED = 3
"""Answers with the whole file instead of a part, before no more parts of it are asked for."""

Trouble = Later | Stale | Unranged | Refusal


class Worker(threading.Thread):
    def __init__(self, board: Board, terms: Terms) -> None:
        super().__init__(name="holdfast-transfer", daemon=True)
        self._board = board
        self._terms = terms
        self._line = Line(terms)
        self._buffer = memoryview(bytearray(MIB))
        self.broken: BaseException | None = None
        """What should not happen: an error of ours, or of who listens to the events."""

    def abort(self) -> None:
        """From another thread, once the board is halted: do not wait for the network."""
        self._line.abort()

    def run(self) -> None:
        try:
            while task := self._board.next():
                try:
                    self._do(task)
                finally:
                    self._board.leave(task)
        except BaseException as error:
            self.broken = error
            self._board.halt()
        finally:
            self._line.close()

    def _do(self, task: Task) -> None:
        job = task.job
        try:
            if task.stretch is None:
                self._open(job)
            else:
                self._fetch(job, task.stretch)
            if job.part.catch_up(lambda: self._board.going_on(job)):
                self._finish(job)
        except StoreError as error:
            if self._board.failed(job, error):
                self._board.tell(FileFailed(job.want.path, error))
            if isinstance(error.__cause__, OSError):
                self._board.halt()  # the disk; it would refuse the others too

    # ---- Beginning and ending a file ----

    def _open(self, job: Job) -> None:
        path = job.want.path

        def checked(count: int) -> bool:
            self._board.tell(Checking(path, count))
            return not self._board.halted

        resumed = job.part.open(checked)
        if not self._board.halted:
            self._board.tell(FileStarted(path, job.want.bytes, resumed))
            self._board.begin(job)

    def _finish(self, job: Job) -> None:
        want = job.want
        sha256, git_oid = job.part.digests()
        wanted, found = (want.sha256, sha256) if want.sha256 else (want.git_oid, git_oid)
        if wanted in (None, found):
            job.part.keep()
            self._board.done(job, Fetched(want, sha256, want.git_oid or git_oid))
            self._board.tell(FileDone(want.path, sha256))
            return
        kind = "sha256" if want.sha256 else "git blob"
        why = f"its {kind} is {found} and should be {wanted}"
        if job.arrived:  # else it is only what an earlier run left
            job.rounds += 1
            job.sources.start_over(why)
            self._board.tell(Retrying(want.path, "all bytes came, and they are wrong", 0))
        job.part.start_over()
        job.arrived = 0
        if job.rounds >= max(2, len(want.urls)):
            raise StoreError(
                f"{want.path} is not what it should be, wherever it is fetched from",
                why=why,
                next_step="Nothing of it was kept; try again later, or name another revision",
            )

    # ---- Fetching a stretch ----

    def _fetch(self, job: Job, stretch: Stretch) -> None:
        """Until `stretch` is whole, the transfer halts, or the file cannot be asked for in parts.

        Raises StoreError when no source is left.
        """
        failures = 0
        place: Place | None = None
        quiet_since = self._board.arrived
        while stretch.at < stretch.end and self._board.going_on(job):
            before, last = stretch.at, place
            place = job.sources.place()
            if last is None or place.source != last.source:
                failures = 0
            trouble = self._attempt(job, place, stretch)
            if trouble is None or stretch.at - before >= _PROGRESS:
                failures, quiet_since = 0, self._board.arrived
            if isinstance(trouble, Unranged):
                job.ranges_ignored += 1
                if job.ranges_ignored >= _IGNORED:
                    job.alone = True
                    return
                trouble = Later("the whole file comes instead of a part of it")
            if isinstance(trouble, Stale):
                job.sources.forget(place)
                if place.kept and not failures:  # signed addresses expire: no failure, once
                    failures = 1
                    continue
                trouble = Later(trouble.why)
            if isinstance(trouble, Later):
                failures += 1
                if failures >= self._terms.patience.tries:
                    error = _tired(place, job, trouble, failures)
                    self._give_up(job, place, error, all_quiet=self._board.arrived == quiet_since)
                else:
                    self._wait(job, place, trouble, failures)
            elif isinstance(trouble, Refusal):
                self._give_up(job, place, trouble.error, all_quiet=False)

    def _wait(self, job: Job, place: Place, later: Later, failures: int) -> None:
        if not self._board.going_on(job):
            return
        seconds = later.seconds
        if seconds is None:
            seconds = self._terms.patience.wait(failures)
        if later.busy:
            self._terms.gate.shut(self._line.asked, seconds)
        self._board.tell(Retrying(job.want.path, f"{place.name}: {later.why}", seconds))
        self._board.sleep(job, seconds)

    def _give_up(self, job: Job, place: Place, error: StoreError, *, all_quiet: bool) -> None:
        """Raises StoreError if `place` was the last source. Where nothing came from anywhere while
        this one was tried again and again, the whole transfer is given up: the network is gone."""
        if not job.sources.give_up(place, error):
            return
        try:
            job.sources.place()
        except StoreError:
            if all_quiet:
                self._board.halt()
            raise
        self._board.tell(Retrying(job.want.path, error.what, 0))

    def _attempt(self, job: Job, place: Place, stretch: Stretch) -> Trouble | None:
        """One request, and what comes of it. None: it did what it could."""
        try:
            exchange = self._line.ask(
                job.want, place, stretch.at, stretch.end, partial(self._board.sleep, job)
            )
        except (HoldfastError, OSError, http.client.HTTPException) as error:
            return told(error, place, self._terms.stall)
        if exchange is None:
            return None
        answer = exchange.answer
        if isinstance(answer, Unranged) and stretch.alone:
            answer = Body(0, job.want.bytes, None)
            job.part.rewind(stretch)
        trouble: Trouble | None
        if isinstance(answer, Body):
            trouble = job.sources.answered(place, exchange)
            if trouble is None:
                return self._receive(job, place, stretch, replace(exchange, answer=answer))
        else:
            trouble = answer
        exchange.reply.end(read_whole=False)
        return trouble

    def _receive(
        self, job: Job, place: Place, stretch: Stretch, exchange: Exchange
    ) -> Trouble | None:
        reply, body = exchange.reply, exchange.answer
        assert isinstance(body, Body)
        end = min(body.end, stretch.end)
        grain = self._terms.bucket.grain
        try:
            while stretch.at < end and self._board.going_on(job):
                try:
                    count = reply.read(self._buffer[: min(grain, end - stretch.at)])
                except (OSError, http.client.HTTPException) as error:
                    return told(error, place, self._terms.stall)
                if count == 0:
                    return Later("the connection was cut")
                self._board.arrive(job, count)
                job.part.write(stretch, self._buffer[:count])
                self._board.tell_progress(job)
                if pause := self._terms.bucket.take(count):
                    self._board.sleep(job, pause)
        finally:
            reply.end(read_whole=stretch.at == body.end)
        return None


def _tired(place: Place, job: Job, later: Later, failures: int) -> HubError:
    return HubError(
        f"{place.name} does not give {job.want.path}",
        why=f"{later.why}, {failures} times in a row",
        next_step="Run the same command again later: it goes on where it stopped",
    )
