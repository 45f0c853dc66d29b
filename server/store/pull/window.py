"""The hours of the day in which pulls may work, such as 01:00-06:00. Pure, in local time."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")
_DAY = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, seconds since midnight; over midnight where `end` is the smaller."""

    start: int
    end: int

    def opens_in(self, now: datetime.datetime) -> float:
        """Seconds until it is open; 0 while it is."""
        if self._since_start(now) < self._length:
            return 0.0
        return _DAY - self._since_start(now)

    def closes_in(self, now: datetime.datetime) -> float:
        """Seconds until it closes; 0 while it is closed."""
        return max(0.0, self._length - self._since_start(now))

    @property
    def _length(self) -> int:
        return (self.end - self.start) % _DAY

    def _since_start(self, now: datetime.datetime) -> float:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return ((now - midnight).total_seconds() - self.start) % _DAY

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)}"


def parse_window(text: str) -> Window:
    """`"01:00-06:00"` or, over midnight, `"22:00-06:00"`. Raises ValueError."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text[:40]}" is not a time of day such as 01:00-06:00')
    start = int(match[1]) * 3600 + int(match[2]) * 60
    end = int(match[3]) * 3600 + int(match[4]) * 60
    if start == end:
        raise ValueError(f'"{text[:40]}" is no time at all: it ends when it begins')
    return Window(start, end)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
