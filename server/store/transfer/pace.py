"""How fast: the limit of the rate, and how long to wait after a failure."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.units import KIB, MIB


@dataclass(frozen=True, slots=True)
class Patience:
    """With a source that fails. As it stands, a minute if the source does not ask for more."""

    tries: int = 8
    """Failures in a row, without a byte in between, after which it is given up."""
    first: float = 0.5
    """Seconds to wait after the first one; each time twice as long."""
    longest: float = 30.0

    def wait(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Seconds to wait after so many failures in a row, the present one included.

        Up to half of them is left out by chance, so that clients that failed together do not come
        back together.
        """
        longest = min(self.longest, self.first * 2.0 ** min(failures - 1, 16))
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
