"""How much a build has been asked for lately: a count in which old requests weigh less."""

from __future__ import annotations

_HALF_LIFE = 600.0
"""Seconds after which a request counts half. Sessions with a model last minutes, not hours."""


class Usage:
    """Requests, each counting half of what it did for every 10 minutes that it is old (LRFU, Lee
    et al. 2001). `weight`: what a build counts for that nobody has asked for yet."""

    def __init__(self, weight: float = 1.0) -> None:
        self.requests = 0
        """All of them."""
        self._weight = weight
        self._count = 0.0
        self._at = 0.0

    def note(self, now: float) -> None:
        """A request came at `now`, in seconds of a monotonic clock."""
        self._count = self._decayed(now) + 1.0
        self._at = now
        self.requests += 1

    def demand(self, now: float) -> float:
        """In requests; the more, the sooner the next one is likely to come."""
        # The weight is a share of the expected requests: it decides while there is little to go by.
        return self._decayed(now) + 0.01 * self._weight

    def _decayed(self, now: float) -> float:
        return self._count * 0.5 ** ((now - self._at) / _HALF_LIFE) if self._count else 0.0
