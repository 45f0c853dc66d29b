"""Whether a failed request is sent again to the same target, and when. Pure but for the budget."""

from __future__ import annotations

from typing import Final

from server.errors import HoldfastError, ProviderError

_BASE: Final = 0.25
_MOST: Final = 8.0
"""Seconds: the first pause at most, and any."""
LONGEST_WAIT: Final = 20.0
"""Seconds that a request waits where a provider asks for it and nobody else is left to ask."""
SHORTEST_WAIT: Final = 1.0
"""The same where somebody else is left."""


def pause_before(tries: int, luck: float, retry_after: int | None = None) -> float:
    """Seconds to wait after `tries` failures at one target, one at least.

    The longest pause doubles with each, and `luck` (0 to 1, at random) picks from it, so that those
    who failed together do not come back together ("full jitter": Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015). What the provider asks for is the least, never cut short.
    """
    longest = min(_MOST, _BASE * 2.0 ** (tries - 1))
    return float(retry_after or 0) + longest * luck


def worth_retrying(
    error: HoldfastError, tries: int, retries: int, wait: float, *, others: bool
) -> bool:
    """Whether the same target is asked again, `wait` seconds later, after `tries` failures.

    `retries`: further attempts allowed; `others`: whether another target could be asked at once.
    Never after a failure that time does not mend: a spend limit, a key, the request itself.
    """
    if not isinstance(error, ProviderError) or not error.retryable or tries > retries:
        return False
    return wait <= (SHORTEST_WAIT if others else LONGEST_WAIT)


class RetryBudget:
    """A token bucket that each request fills by `share` and each retry or hedge empties by one.

    When everything fails, retries then add `share` to the load at most, and do not multiply it. A
    full bucket, which is what it begins with, lets the few retries of a quiet machine through.
    """

    def __init__(self, share: float, burst: float = 10.0) -> None:
        self._burst = burst
        self._share = self._tokens = 0.0
        self.go_by(share)

    def go_by(self, share: float) -> None:
        """Of 0 nothing is retried; what follows it begins with a full bucket."""
        if share <= 0:
            self._tokens = 0.0
        elif self._share <= 0:
            self._tokens = self._burst
        self._share = share

    def deposit(self) -> None:
        """A request has come."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def withdraw(self) -> bool:
        """Whether one more attempt may be made; if so it is counted."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
