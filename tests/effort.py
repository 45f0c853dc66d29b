"""How much work something is, on a machine on which others work too."""

from __future__ import annotations

import time
from collections.abc import Callable


def cpu_seconds(act: Callable[[], object], times: int = 3) -> float:
    """The least that `act` took of this thread's own time, of so many runs.

    Time for which others had the processor is not in it. What is left varies by a factor of two or
    three with the machine and its caches: a bound has to be far above the usual.
    """
    return min(_once(act) for _ in range(times))


def _once(act: Callable[[], object]) -> float:
    began = time.thread_time()
    act()
    return time.thread_time() - began
