"""What a running pull shows: bars on a terminal, lines in a log, or its events as JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import TYPE_CHECKING, Any

from server.errors import HoldfastError
from server.store.pull.events import (
    Event,
    Failed,
    Linked,
    NotLinked,
    Planned,
    Published,
    Surveyed,
    Unchanged,
    Waiting,
)
from server.store.pull.plan import Plan
from server.store.transfer import (
    Checking,
    FileDone,
    FileFailed,
    FileStarted,
    Progress,
    Retrying,
)
from server.units import format_bytes, format_duration

if TYPE_CHECKING:
    from rich import progress

LINE_EVERY = 5.0
"""Seconds between the lines of a log."""
_WIDEST = 44  # letters of a file's name beside its bar


@dataclass(slots=True)
class Tally:
    """How far a pull is, from its events."""

    total: int = 0
    """Bytes that are to come from a hub, without what earlier runs left."""
    files: int = 0
    files_done: int = 0
    began: float = 0.0
    _sizes: dict[str, int] = field(default_factory=dict)
    _resumed: dict[str, int] = field(default_factory=dict)
    _now: dict[str, int] = field(default_factory=dict)
    _finished: int = 0

    @property
    def done(self) -> int:
        under_way = sum(max(0, now - self._resumed[path]) for path, now in self._now.items())
        return self._finished + under_way

    def note(self, event: Event, now: float) -> None:
        match event:
            case Surveyed(_, files, size):
                # Once a window. The events of the files are counted from here.
                self.total, self.files, self.began = size, files, now
                self.files_done = self._finished = 0
                self._now.clear()
            case FileStarted(path, size, resumed):
                self._sizes[path], self._resumed[path], self._now[path] = size, resumed, resumed
                self.total -= resumed
            case Progress(path, count) if path in self._now:
                self._now[path] = count
            case FileDone(path, _) if path in self._now:
                self._finished += self._sizes[path] - self._resumed[path]
                self.files_done += 1
                del self._now[path]
            case FileFailed(path, _):
                self._now.pop(path, None)

    def line(self, now: float) -> str:
        """`"12% of 28.0 GiB, 110.0 MiB/s, 3m 20s left, 3 of 12 files"`."""
        share = self.done / self.total if self.total else 1.0
        rate = self.done / max(0.001, now - self.began)
        left = format_duration((self.total - self.done) / rate) if rate else "?"
        return (
            f"{min(share, 1.0):.0%} of {format_bytes(self.total)}, {format_bytes(int(rate))}/s, "
            f"{left} left, {self.files_done} of {self.files} files"
        )

    def summary(self, now: float) -> str | None:
        """`"Fetched 28.0 GiB in 4m 20s, 110.0 MiB/s"`; None where nothing came."""
        if not self.done:
            return None
        seconds = max(0.001, now - self.began)
        rate = format_bytes(int(self.done / seconds))
        return f"Fetched {format_bytes(self.done)} in {format_duration(seconds)}, {rate}/s"


def said(event: Event) -> str | None:
    """An event in words; None for those that a bar shows better."""
    match event:
        case Waiting(seconds, window):
            return f"Waiting {format_duration(seconds)} for the window {window}"
        case Planned(plan) if plan.of("fetch") or plan.of("link"):
            return _planned(plan)
        case Linked(path, how, size):
            return f"{path}: {format_bytes(size)} held already ({how})"
        case NotLinked(path, source):
            return f"{path}: {source} is not what it should be, so it is fetched"
        case Retrying(path, why, seconds):
            pause = f", again in {format_duration(seconds)}" if seconds else ", another source"
            return f"{path}: {why}{pause}"
        case FileFailed(path, error):
            return f"{path}: {error.sentence}"
        case Published(repository, revision, folder, files, size):
            whole = f"{files} files, {format_bytes(size)}, verified"
            return f"{repository}@{revision[:12]} is whole: {whole}\n  {folder}"
        case Unchanged(repository, revision, folder):
            return f"{repository}@{revision[:12]} was whole already\n  {folder}"
        case Failed(repository, error):
            return f"{repository} was not pulled: {error.sentence}"
    return None


def as_json(event: Event) -> Mapping[str, Any]:
    """The event as an object: its kind under `event`, then its fields."""
    kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(event).__name__)
    values = {one.name: getattr(event, one.name) for one in fields(event)}
    if isinstance(event, Planned):
        from server.cli.pull.report import plan_document

        values = dict(plan_document(event.plan))
    if isinstance(error := values.get("error"), HoldfastError):
        values["error"] = {
            "code": error.code,
            "what": error.what,
            "why": error.why,
            "next_step": error.next_step,
        }
    return {"event": kind.lstrip("_"), **values}


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


def _planned(plan: Plan) -> str:
    fetched, kept, linked = plan.of("fetch"), plan.of("keep"), plan.of("link")
    text = (
        f"{plan.order.repository}@{(plan.revision or '')[:12]}: {len(fetched)} files to fetch, "
        f"{format_bytes(plan.bytes_to_fetch)}"
    )
    text += f", {len(kept)} held" if kept else ""
    text += f", {len(linked)} to link" if linked else ""
    refused = "".join(f"\n  left out: {one.path} ({one.why})" for one in plan.refused)
    return text + refused


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
