"""How far long work of the running Holdfast is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_EVERY = 10.0  # seconds, while only the share of it grows


class Waiting:
    """A context; `tell` is given what the server says. Everything goes to stderr."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._said = ""
        self._told = 0.0

    def __enter__(self) -> Waiting:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, event: dict[str, Any]) -> None:
        """`{"doing": words, "progress": 0 to 1 or None, "stage": words or None}`"""
        words = event["doing"] + (f": {event['stage']}" if event["stage"] else "")
        share: float | None = event["progress"]
        if self._bar is not None:
            total = None if share is None else 1.0
            self._bar.update(
                self._task, description=words, total=total, completed=share or 0.0, refresh=True
            )
            return
        now = time.monotonic()
        if words != self._said or now - self._told >= _LINE_EVERY:
            self._said, self._told = words, now
            print(words + ("" if share is None else f", {share:.0%}"), file=sys.stderr, flush=True)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
