"""What a running pull shows: bars on a terminal, lines in a log, or its events as JSON lines."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from server.cli.pull.tally import Tally
from server.cli.pull.words import as_json, said
from server.store.pull.events import Event, Surveyed
from server.store.transfer import Checking, FileDone, FileFailed, FileStarted, Progress

if TYPE_CHECKING:
    from rich import progress

LINE_EVERY = 5.0
"""Seconds between the lines of a log."""
_WIDEST = 44  # letters of a file's name beside its bar


class JsonLines:
    """Every event, one object a line, on stdout."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, event: Event) -> None:
        import orjson

        data = orjson.dumps(as_json(event), default=str)
        print(data.decode(), flush=True)


class Lines:
    """What matters as it happens, and how far it is every few seconds; on stderr."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._told = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if (summary := self._tally.summary(time.monotonic())) is not None:
            print(summary, file=sys.stderr, flush=True)

    def tell(self, event: Event) -> None:
        now = time.monotonic()
        self._tally.note(event, now)
        if isinstance(event, Surveyed):
            self._told = now
        if (text := said(event)) is not None:
            print(text, file=sys.stderr, flush=True)
        elif isinstance(event, FileDone):
            print(f"{event.path}: fetched and verified", file=sys.stderr, flush=True)
        elif isinstance(event, Progress) and now - self._told >= LINE_EVERY:
            self._told = now
            print(self._tally.line(now), file=sys.stderr, flush=True)


class Bars:
    """A bar for each file under way, and one for all of it; on stderr, gone at the end."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._progress = _bars()
        self._all: progress.TaskID | None = None
        self._tasks: dict[str, progress.TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if (summary := self._tally.summary(time.monotonic())) is not None:
            print(summary, file=sys.stderr, flush=True)

    def tell(self, event: Event) -> None:
        self._tally.note(event, time.monotonic())
        if (text := said(event)) is not None:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        match event:
            case Surveyed(_, files, size) if files:
                self._all = self._progress.add_task("in all", total=size)
            case Checking(path, _):
                self._task(path, f"checking {path}")
            case FileStarted(path, size, resumed):
                task = self._task(path, path)
                self._progress.reset(
                    task, total=size, completed=resumed, description=_short(path), visible=True
                )
            case Progress(path, count):
                self._progress.update(self._task(path, path), completed=count)
            case FileDone(path, _) | FileFailed(path, _):
                self._progress.remove_task(self._task(path, path))
                del self._tasks[path]
        if self._all is not None:
            self._progress.update(self._all, total=self._tally.total, completed=self._tally.done)

    def _task(self, path: str, description: str) -> progress.TaskID:
        if path not in self._tasks:
            self._tasks[path] = self._progress.add_task(_short(description), total=None)
        return self._tasks[path]


def shown(*, json: bool) -> JsonLines | Lines | Bars:
    """What fits the place that is written to."""
    if json:
        return JsonLines()
    return Bars() if sys.stderr.isatty() else Lines()


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else "..." + text[3 - _WIDEST :]


def _bars() -> progress.Progress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
