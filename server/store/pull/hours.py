"""Keeping to a window: waiting for it to open, and noticing that it closes."""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections.abc import Iterator

from server.store.pull.events import Waiting
from server.store.pull.staging import Tell
from server.store.pull.window import Window

_LONGEST_SLEEP = 60.0  # seconds; a clock that is set meanwhile is noticed


def await_opening(window: Window | None, tell: Tell) -> None:
    """Sleeps until the window is open."""
    told = False
    while window is not None and (seconds := window.opens_in(datetime.datetime.now())) > 0:
        if not told:
            tell(Waiting(seconds, str(window)))
            told = True
        time.sleep(min(seconds, _LONGEST_SLEEP))


@contextlib.contextmanager
def until_closing(window: Window | None, event: threading.Event) -> Iterator[None]:
    """Sets `event` when the window closes, as long as the block lasts."""
    if window is None:
        yield
        return
    timer = threading.Timer(window.closes_in(datetime.datetime.now()), event.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
