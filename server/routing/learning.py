"""Figures that are learnt as requests go by: a line, a distribution of lengths, a median. Each
costs microseconds and a bounded amount of memory, and forgets what is long past."""

from __future__ import annotations

import statistics
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence

_FORGET = 0.96
"""What the weight of everything before a new point is multiplied by: the last 25 count most."""
_PRIOR = 0.5
"""Weight of each of the two points that stand for what was expected; it does not fade."""
_OUTLIER = 3.0
"""A point that is off by more than this factor counts as if it were off by no more than this."""
_SURE = 3
"""Points after which a line counts as measured, and outliers are known as such."""


class Line:
    """y = a + b x with a, b >= 0, fitted to the latest points by least squares of relative errors.

    `a` and `b` are what is expected at first; `at`: an x that is typical, in the middle of what is
    to come. Where the points do not tell a and b apart, since all have much the same x, what was
    expected decides between them, as a shape: it is scaled to the points.
    """

    def __init__(self, a: float, b: float, at: float) -> None:
        self.a = a
        self.b = b
        self.points = 0
        """How many were taken in."""
        self._expected = (max(a, 1e-9), max(a, 1e-9) + b * at)
        """At 0 and at `at`."""
        self._at = at
        self._scale = Recent(1.0)
        self._seen = _NOTHING

    @property
    def measured(self) -> bool:
        return self.points >= _SURE

    def __call__(self, x: float) -> float:
        return self.a + self.b * x

    def add(self, x: float, y: float) -> None:
        """Take in a point; y must be above 0."""
        fitted = self(x)
        if self.points >= _SURE:
            y = min(max(y, fitted / _OUTLIER), fitted * _OUTLIER)
        self.points += 1
        low, high = self._expected
        self._scale.add(y / (low + (high - low) * x / self._at))
        scale = self._scale.value
        self._seen = _sums(x, y, 1.0, [_FORGET * part for part in self._seen])
        prior = _sums(0.0, low * scale, _PRIOR, self._seen)
        w, wx, wy, wxx, wxy = _sums(self._at, high * scale, _PRIOR, prior)
        b = (w * wxy - wx * wy) / (w * wxx - wx * wx)
        if b <= 0:
            self.a, self.b = wy / w, 0.0
        else:
            a = (wy - b * wx) / w
            self.a, self.b = (a, b) if a >= 0 else (0.0, wxy / wxx)


_Sums = tuple[float, float, float, float, float]
_NOTHING: _Sums = (0.0, 0.0, 0.0, 0.0, 0.0)


def _sums(x: float, y: float, weight: float, to: Sequence[float]) -> _Sums:
    """The sums of a weighted least-squares fit, with one more point; errors count relative to y."""
    w = weight / (y * y)
    return (to[0] + w, to[1] + w * x, to[2] + w * y, to[3] + w * x * x, to[4] + w * x * y)


class Lengths:
    """How long answers are, in tokens: the latest of them, and at first what is usual."""

    _USUAL = (8, 32, 80, 150, 250, 400, 700, 1400)
    _KEPT = 128

    def __init__(self) -> None:
        self._latest: deque[int] = deque(self._USUAL)
        self._sorted: list[int] = list(self._USUAL)
        self._usual = len(self._USUAL)

    def add(self, tokens: int) -> None:
        if self._usual or len(self._latest) >= self._KEPT:
            self._usual = max(0, self._usual - 1)
            self._sorted.remove(self._latest.popleft())
        self._latest.append(tokens)
        insort(self._sorted, tokens)

    def rest(self, come: float, limit: int | None, part: float = 0.5) -> float:
        """Tokens that are still to come of an answer of which `come` have, `limit` at most.

        Of the answers that were longer than that, `part` (0 to 1) have no more; the longest of all
        is taken to be half way.
        """
        longer = bisect_right(self._sorted, come)
        left = len(self._sorted) - longer
        rest = self._sorted[longer + int(part * left)] - come if left else come
        return rest if limit is None else max(1.0, min(rest, limit - come))

    def mean(self, limit: int | None) -> float:
        """Tokens of an answer that has not begun, `limit` at most."""
        if limit is None:
            return statistics.fmean(self._sorted)
        return statistics.fmean([min(one, limit) for one in self._sorted])


class Recent:
    """The median of the latest values, `first` until there are any."""

    def __init__(self, first: float, kept: int = 32) -> None:
        self.value = first
        self.count = 0
        self._latest: deque[float] = deque(maxlen=kept)

    def add(self, value: float) -> None:
        self.count += 1
        self._latest.append(value)
        self.value = statistics.median(self._latest)
