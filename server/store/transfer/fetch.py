"""The transfer as a whole: several connections over several files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from server.store.transfer.board import Board
from server.store.transfer.connection import trusted_certificates
from server.store.transfer.events import Event
from server.store.transfer.exchange import Terms
from server.store.transfer.pace import Bucket, Gate, Patience
from server.store.transfer.want import Fetched, Want
from server.store.transfer.worker import Worker
from server.units import KIB, MIB

SEGMENT = 4 * MIB
STALL = 30.0
PATIENCE = Patience()
MOST_UNFINISHED = 64 * MIB
"""Bytes that a kill may cost at most: each connection has one unfinished segment."""
_SMALLEST_SEGMENT = 256 * KIB
_STOPPED_WITHIN = 5.0
"""Seconds for all threads to notice: looking up a name, or connecting, cannot be interrupted."""


def fetch(
    wants: Sequence[Want],
    *,
    jobs: int,
    limit_rate: int | None,
    on_event: Callable[[Event], None],
    stop: threading.Event,
    user_agent: str,
    segment: int = SEGMENT,
    stall: float = STALL,
    patience: Patience = PATIENCE,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Fetched, ...]:
    """Fetch every file of `wants` over `jobs` connections, and check it.

    What earlier runs left is taken up where its bytes are right. Once `stop` is set it returns
    soon, with what is whole so far. `limit_rate` is in bytes per second over all connections; the
    proxies are those of `environment`. `on_event` is called from several threads, never from two
    at once; what it raises ends the transfer and is raised here.

    Raises StoreError (HubError where a source is at fault) if a file cannot be had; the others are
    fetched nevertheless, unless no source sends anything any more, or the disk refuses.
    """
    largest = max(_SMALLEST_SEGMENT, MOST_UNFINISHED // max(1, jobs) // KIB * KIB)
    board = Board(wants, segment=min(segment, largest), jobs=jobs, on_event=on_event)
    terms = Terms(
        user_agent=user_agent,
        stall=stall,
        environment=environment,
        context=trusted_certificates(environment),
        bucket=Bucket(limit_rate),
        gate=Gate(),
        patience=patience,
    )
    workers = [Worker(board, terms) for _ in range(max(1, jobs))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            while worker.is_alive():
                worker.join(0.05)
                if stop.is_set() and not board.halted:
                    board.halt()
                if board.halted:
                    _abort(workers)
    finally:
        _end(board, workers)
    for worker in workers:
        if worker.broken is not None:
            raise worker.broken
    if not stop.is_set():
        _raise_errors(board)
    return tuple(job.fetched for job in board.jobs if job.fetched is not None)


def _abort(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.abort()


def _end(board: Board, workers: Sequence[Worker]) -> None:
    board.halt()
    _abort(workers)
    deadline = time.monotonic() + _STOPPED_WITHIN
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    if not any(worker.is_alive() for worker in workers):
        board.close()


def _raise_errors(board: Board) -> None:
    failed = [(job.want.path, job.error) for job in board.jobs if job.error is not None]
    if not failed:
        return
    first = failed[0][1]
    if len(failed) == 1:
        raise first
    others = ", ".join(path for path, _ in failed[1:4]) + (" and more" if len(failed) > 4 else "")
    raise type(first)(
        f"{len(failed)} of {len(board.jobs)} files could not be fetched",
        why=f"{first.what}" + (f": {first.why}" if first.why else "") + f"; likewise {others}",
        next_step=first.next_step,
    )
