"""Shows a build's progress: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from server.engines.build import log
from server.units import format_duration


class ProgressDisplay:
    """A context manager; `show` takes what the log's reader finds."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(file=sys.stdout)
        self._console = console
        self._terminal = console.is_terminal
        self._started = time.monotonic()
        self._tenth = 0
        self._phase = ""
        self._bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("preparing", total=None)

    def __enter__(self) -> ProgressDisplay:
        self._started = time.monotonic()
        if self._terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            self._bar.stop()

    def show(self, progress: log.Progress) -> None:
        if self._terminal:
            self._bar.update(
                self._task,
                description=progress.phase,
                completed=progress.done,
                total=progress.total or None,
            )
        elif line := self._line(progress):
            elapsed = format_duration(time.monotonic() - self._started)
            self._console.print(
                f"  {line} ({elapsed})", highlight=False, markup=False, soft_wrap=True
            )

    def _line(self, progress: log.Progress) -> str | None:
        """A line for each new phase and each tenth of the steps, None in between."""
        if progress.phase != self._phase:
            self._phase, self._tenth = progress.phase, 0
            return progress.phase
        tenth = 10 * progress.done // progress.total if progress.total else 0
        if tenth > self._tenth:
            self._tenth = tenth
            return f"{progress.phase}, {tenth * 10} %: {progress.done} of {progress.total}"
        return None
