"""The files of a transfer, and what each connection does next."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.errors import StoreError
from server.store.transfer.events import Event, Progress
from server.store.transfer.part import Part, Stretch
from server.store.transfer.sources import Sources
from server.store.transfer.want import Fetched, Want
from server.units import MIB

_LONGEST_STRETCH = 128 * MIB
_TOLD_EVERY = 0.1
"""Seconds between two events of a file's progress."""


class State(enum.Enum):
    WAITING = "not begun"
    OPENING = "what an earlier run left is being checked"
    FETCHING = "connections fetch it"
    ENDED = "done or failed"


@dataclass(slots=True, eq=False)
class Job:
    """Its state and its count of holders change under the board's lock only."""

    want: Want
    part: Part
    sources: Sources
    state: State = State.WAITING
    holders: int = 0
    """Threads that have a stretch of it, or do something else with its part."""
    alone: bool = False
    """A source sends whole files only: one connection at a time."""
    ranges_ignored: int = 0
    rounds: int = 0
    """How often all of it came, and was wrong."""
    fetched: Fetched | None = None
    error: StoreError | None = None
    arrived: int = 0
    """Bytes that came in this round."""
    told_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a connection is to do next: fetch `stretch`, or open the file (None)."""

    job: Job
    stretch: Stretch | None


class Board:
    """All files, and who does what. Events are told from here, one at a time."""

    def __init__(
        self, wants: Sequence[Want], *, segment: int, jobs: int, on_event: Callable[[Event], None]
    ) -> None:
        self.jobs = tuple(Job(want, Part(want, segment), Sources(want)) for want in wants)
        self.arrived = 0
        """Bytes from all sources; tells whether anything at all still comes."""
        self._connections = jobs
        self._on_event = on_event
        self._telling = threading.Lock()
        self._changed = threading.Condition()
        self._halted = threading.Event()

    # ---- Stopping ----

    @property
    def halted(self) -> bool:
        return self._halted.is_set()

    def halt(self) -> None:
        self._halted.set()
        with self._changed:
            self._changed.notify_all()

    def going_on(self, job: Job) -> bool:
        return not self._halted.is_set() and job.state is not State.ENDED

    def sleep(self, job: Job, seconds: float) -> bool:
        """False: it ended early, as there is nothing to wait for any more."""
        deadline = time.monotonic() + seconds
        while self.going_on(job):
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            self._halted.wait(min(left, 0.2))
        return False

    # ---- Telling ----

    def tell(self, event: Event) -> None:
        with self._telling:
            self._on_event(event)

    def arrive(self, job: Job, count: int) -> None:
        """`count` bytes came, right or wrong."""
        with self._telling:
            job.arrived += count
            self.arrived += count

    def tell_progress(self, job: Job) -> None:
        now = time.monotonic()
        if now - job.told_at >= _TOLD_EVERY:
            job.told_at = now
            self.tell(Progress(job.want.path, job.part.present))

    # ---- Giving out and taking back ----

    def next(self) -> Task | None:
        """Waits until there is something to do. None: there will be nothing more."""
        with self._changed:
            while not self._halted.is_set():
                if task := self._task():
                    task.job.holders += 1
                    return task
                if all(job.state is State.ENDED for job in self.jobs):
                    return None
                self._changed.wait(1.0)
        return None

    def _task(self) -> Task | None:
        fetching = [job for job in self.jobs if job.state is State.FETCHING and job.part.free]
        # A file that is begun is finished before another one is begun; help comes last.
        fetching.sort(key=lambda job: (job.holders, -job.part.free))
        idle = [job for job in fetching if not job.holders]
        waiting = next((job for job in self.jobs if job.state is State.WAITING), None)
        for job in idle or ([] if waiting else fetching):
            if stretch := job.part.take(self._longest(job), alone=job.alone):
                return Task(job, stretch)
        if waiting is None:
            return None
        waiting.state = State.OPENING
        return Task(waiting, None)

    def _longest(self, job: Job) -> int:
        """Segments for one request: many, but few enough that others find some towards the end."""
        if job.alone:
            return -(-job.want.bytes // job.part.segment)
        most = max(1, _LONGEST_STRETCH // job.part.segment)
        waiting = sum(one.state is State.WAITING for one in self.jobs)
        share = 1 if waiting >= self._connections else self._connections
        return max(1, min(most, job.part.free // share))

    def begin(self, job: Job) -> None:
        with self._changed:
            if job.state is State.OPENING:
                job.state = State.FETCHING
            self._changed.notify_all()

    def done(self, job: Job, fetched: Fetched) -> None:
        self._end(job, fetched, None)

    def failed(self, job: Job, error: StoreError) -> bool:
        """False: it had failed already."""
        return self._end(job, None, error)

    def _end(self, job: Job, fetched: Fetched | None, error: StoreError | None) -> bool:
        with self._changed:
            if job.state is State.ENDED:
                return False
            job.state, job.fetched, job.error = State.ENDED, fetched, error
            self._changed.notify_all()
            return True

    def leave(self, task: Task) -> None:
        """The thread that had `task` is through with it, whether it is done or not."""
        job = task.job
        with self._changed:
            if task.stretch is not None:
                job.part.give_back(task.stretch)
            job.holders -= 1
            if not job.holders and job.state is State.ENDED:
                job.part.close()
            self._changed.notify_all()

    def close(self) -> None:
        """For when no thread is left."""
        for job in self.jobs:
            job.part.close()
