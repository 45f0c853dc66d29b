"""How far long work on bytes is: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from server.units import format_bytes, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_EVERY = 10.0  # seconds


class Work:
    """A context in which `on_bytes` may be called by any thread. Everything goes to stderr."""

    def __init__(self, title: str, total: int) -> None:
        """`total` bytes will pass; some may pass again where something must be repeated."""
        self._title, self._total = title, total
        self._done = 0
        self._lock = threading.Lock()
        self._bar: Progress | None = None

    def __enter__(self) -> Work:
        self._began = self._told = time.monotonic()
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_bytes(self, count: int) -> None:
        with self._lock:
            self._done = min(self._done + count, self._total)
            if self._bar is not None:
                self._bar.update(self._task, completed=self._done)
                return
            now = time.monotonic()
            if now - self._told >= _LINE_EVERY:
                self._told = now
                print(self._line(now - self._began), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line of text, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds
        left = format_duration((self._total - self._done) / rate) if rate else "?"
        share = self._done / self._total if self._total else 1
        return (
            f"{self._title}: {share:.0%} of {format_bytes(self._total)}, "
            f"{format_bytes(int(rate))}/s, {left} left"
        )


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
