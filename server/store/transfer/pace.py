"""How fast: the limit of the rate, and how long to wait after a failure."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from server.units import KIB, MIB

TRIES = 8
"""Failures in a row, without a byte in between, after which a source is given up: about a minute
if it does not ask for more patience."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0


def backoff(failures: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many failures in a row, the present one included.

    Doubles from half a second up to 30, of which a random half is taken away, so that clients that
    failed together do not come back together.
    """
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance())


class Bucket:
    """A token bucket over all connections: `rate` bytes per second, None for no limit."""

    def __init__(self, rate: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until = 0.0

    @property
    def grain(self) -> int:
        """Bytes to read at once, so that the limit is kept evenly."""
        if self._rate is None:
            return MIB
        return max(4 * KIB, min(MIB, self._rate // 20))

    def take(self, count: int) -> float:
        """Seconds to wait before going on, after `count` bytes came."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            # A tenth of a second may be saved up, so that a late thread costs nothing.
            self._paid_until = max(self._paid_until, now - 0.1) + count / self._rate
            return max(0.0, self._paid_until - now)


class Gate:
    """When each source may be asked again; it told us to wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._opens: dict[object, float] = {}

    def shut(self, place: object, seconds: float) -> None:
        with self._lock:
            self._opens[place] = max(self._opens.get(place, 0.0), self._clock() + seconds)

    def wait(self, place: object) -> float:
        """Seconds from now until it opens; 0: it is open."""
        with self._lock:
            return max(0.0, self._opens.get(place, 0.0) - self._clock())
