"""Figures that are learnt as requests go by: a line, a median. Each costs microseconds and a
bounded amount of memory, and forgets what is long past."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

_FORGET = 0.96
"""What the weight of everything before a new point is multiplied by: the last 25 count most."""
_PRIOR = 0.5
"""Weight of each of the two points that stand for what was expected, at first."""
_PRIOR_FADES = 0.8
"""What that weight is multiplied by with each point that was taken in,"""
_PRIOR_LEAST = 0.02
"""and what is left of it: enough to decide where the points leave it open."""
_OUTLIER = 3.0
"""A point that is off by more than this factor counts as if it were off by no more than this."""
_LEAST = 0.05
"""What is expected at x = 0 at least, as a part of the middle: nothing is for nothing."""
_BASE = 0.02
"""What the fit is at x = 0 at least, as a part of the mean of all y."""
_SURE = 3
"""Points after which a line counts as measured, and outliers are known as such."""


class Line:
    """y = a + b x with a > 0 and b >= 0, fitted to the latest points by least squares.

    `a` and `b` are what is expected at first; `at`: an x that is typical, in the middle of what is
    to come. An error counts as a part of what was expected there: of a long prompt it may be larger
    than of a short one. Where the points do not tell a and b apart, since all have much the same x,
    what was expected decides between them, as a shape: it is scaled to the points.
    """

    def __init__(self, a: float, b: float, at: float) -> None:
        self.a = a
        self.b = b
        self.points = 0
        """How many were taken in."""
        self._low = max(a, _LEAST * (a + b * at))
        self._slope = b
        self._at = at
        self._scale = Recent(1.0)
        self._seen = (0.0, 0.0, 0.0, 0.0, 0.0)
        """The sums of w, w x, w y, w x x and w x y, where w is the weight of a point."""

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
        expected = self._expected(x)
        self._scale.add(y / expected)
        w, wx, wy, wxx, wxy = self._seen
        weight = 1.0 / expected**2
        self._seen = (
            _FORGET * w + weight,
            _FORGET * wx + weight * x,
            _FORGET * wy + weight * y,
            _FORGET * wxx + weight * x * x,
            _FORGET * wxy + weight * x * y,
        )
        self._fit()

    def _fit(self) -> None:
        w, wx, wy, wxx, wxy = self._seen
        prior = max(_PRIOR_LEAST, _PRIOR * _PRIOR_FADES**self.points)
        scale = self._scale.value
        for x in (0.0, self._at):
            expected = self._expected(x)
            weight = prior / expected**2
            y = expected * scale
            w += weight
            wx += weight * x
            wy += weight * y
            wxx += weight * x * x
            wxy += weight * x * y
        b = (w * wxy - wx * wy) / (w * wxx - wx * wx)
        if b <= 0:
            self.a, self.b = wy / w, 0.0
            return
        a, least = (wy - b * wx) / w, _BASE * wy / w
        self.a, self.b = (a, b) if a >= least else (least, max(0.0, (wxy - least * wx) / wxx))

    def _expected(self, x: float) -> float:
        return self._low + self._slope * x


class Upper:
    """What all but `part` of the latest values are not above; `first` until so many are known."""

    def __init__(self, first: float, part: float, kept: int = 40) -> None:
        self.value = first
        self._latest = deque([first] * kept)
        self._sorted = [first] * kept
        self._at = math.ceil(kept * (1 - part)) - 1

    def add(self, value: float) -> None:
        del self._sorted[bisect_left(self._sorted, self._latest.popleft())]
        self._latest.append(value)
        insort(self._sorted, value)
        self.value = self._sorted[self._at]


class Recent:
    """The median of the latest values, `first` until there are any."""

    def __init__(self, first: float, kept: int = 32) -> None:
        self.value = first
        self.count = 0
        self._kept = kept
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        self.count += 1
        latest, in_order = self._latest, self._sorted
        if len(latest) == self._kept:
            del in_order[bisect_left(in_order, latest.popleft())]
        latest.append(value)
        insort(in_order, value)
        middle = len(in_order) // 2
        self.value = (in_order[middle] + in_order[~middle]) / 2
