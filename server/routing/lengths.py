"""How long answers are, in tokens. Pure, but for what is taken in.

An answer that was cut at its limit tells only that it would have been longer. So what is kept is
the part of answers that go on after so many tokens, by Kaplan and Meier's estimate (1958): where
most clients cut answers short, the rest of one is what its limit leaves.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque

_USUAL = (8, 32, 80, 150, 250, 400, 700, 1400)
_KEPT = 128
_NEAR = 1e-9  # what sums of parts are off by


class Lengths:
    """The latest answers, and at first what is usual."""

    def __init__(self) -> None:
        self._latest = deque((tokens, False) for tokens in _USUAL)
        self._sorted = list(self._latest)
        self._usual = len(_USUAL)
        self._fitted = False

    def add(self, tokens: int, *, cut: bool = False) -> None:
        """An answer of so many tokens; `cut`: by its limit."""
        if self._usual or len(self._latest) >= _KEPT:
            self._usual = max(0, self._usual - 1)
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]
        self._latest.append((tokens, cut))
        insort(self._sorted, (tokens, cut))
        self._fitted = False

    def rest(self, come: float, limit: int | None, part: float = 0.5) -> float:
        """Tokens that are still to come of an answer of which `come` have, `limit` at most.

        Of the answers that were longer than that, `part` (0 to 1) have no more; the longest of all
        is taken to be half way.
        """
        self._fit()
        longer = bisect_right(self._ends, come)
        going_on = 1.0 - self._ended[longer - 1] if longer else 1.0
        ended = 1.0 - going_on * (1.0 - part) + _NEAR
        last = bisect_right(self._ended, ended, longer)
        if last < len(self._ends):
            rest = self._ends[last] - come
        elif limit is not None and going_on > _NEAR:
            rest = limit - come
        else:
            rest = max(self._ends[-1] - come, come)
        return rest if limit is None else max(1.0, min(rest, limit - come))

    def mean(self, limit: int | None) -> float:
        """Tokens of an answer that has not begun, `limit` at most."""
        self._fit()
        shorter = len(self._ends) if limit is None else bisect_right(self._ends, limit)
        if not shorter:
            return float(limit or 0)
        mean = self._means[shorter - 1]
        if limit is not None:
            mean += (1.0 - self._ended[shorter - 1]) * (limit - self._ends[shorter - 1])
        return mean

    def _fit(self) -> None:
        """By each of the lengths, the part of answers that are not longer, and what they have on
        the average up to there. Where nobody has to wait, nobody asks."""
        if self._fitted:
            return
        self._fitted = True
        self._ends: list[int] = []
        self._ended: list[float] = []
        self._means: list[float] = []
        going_on, mean, before = 1.0, 0.0, 0
        for left, (tokens, cut) in zip(range(len(self._sorted), 0, -1), self._sorted, strict=True):
            mean += going_on * (tokens - before)
            before = tokens
            if not cut:
                going_on *= 1.0 - 1.0 / left
            self._ends.append(tokens)
            self._ended.append(1.0 - going_on)
            self._means.append(mean)
