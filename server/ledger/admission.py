"""Requests and tokens a minute, and requests at a time: of keys, teams, all, and providers.

A window of 60 seconds slides over buckets of one second. What was asked counts until the second in
which it was asked is wholly a minute old, so that no 60 seconds ever see more than the limit. It is
in memory only: a restart begins with empty windows. Every operation takes a bounded number of steps
(at most one for each bucket), whatever the traffic. Belongs to one event loop; not thread-safe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

from server.errors import RateLimited
from server.ledger.account import Party

_WINDOW = 60
_BUCKETS = _WINDOW + 1


class _Window:
    """How much the last minute has seen. `now` is monotonic seconds."""

    __slots__ = ("_counts", "_newest", "_second", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._second = 0
        self._newest = 0
        """The last second in which anything was counted."""
        self.total = 0

    def advance(self, now: float) -> int:
        """Forget what is older than a minute; returns the present second."""
        second = int(now)
        if second <= self._second:
            return self._second
        for old in range(self._second + 1, min(second, self._second + _BUCKETS) + 1):
            self.total -= self._counts[old % _BUCKETS]
            self._counts[old % _BUCKETS] = 0
        self._second = second
        return second

    def add(self, second: int, amount: int) -> None:
        """Count `amount` (it may be negative) in a second that is not forgotten yet."""
        if second > self._second - _BUCKETS:
            self._counts[second % _BUCKETS] += amount
            self.total += amount
            self._newest = max(self._newest, second)

    def wait(self, now: float, excess: int) -> float:
        """Seconds until `excess` less is counted than now; until it is empty, at most. Looks at
        each bucket: for refusals."""
        gone = 0
        last = 0.0
        for second in range(self._second - _WINDOW, self._second + 1):
            count = self._counts[second % _BUCKETS]
            if count:
                gone += count
                last = second + _BUCKETS - now
                if gone >= excess:
                    return last
        return last

    def reset(self, now: float) -> float:
        """Seconds until it is empty."""
        return self._newest + _BUCKETS - now if self.total else 0.0


@dataclass(slots=True)
class _Use:
    """What one party does now."""

    requests: _Window
    tokens: _Window
    running: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """A limit for a minute as `x-ratelimit-*` headers tell it."""

    limit: int
    remaining: int
    reset: float
    """Seconds until all of it is there again."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of all limits that a request is under, those that leave the least; None: there is none."""

    requests: Figures | None
    tokens: Figures | None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as OpenAI writes them."""
        found = []
        for name, figures in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if figures is not None:
                reset = f"{math.ceil(figures.reset)}s"
                found += [
                    (b"x-ratelimit-limit-" + name, str(figures.limit).encode()),
                    (b"x-ratelimit-remaining-" + name, str(figures.remaining).encode()),
                    (b"x-ratelimit-reset-" + name, reset.encode()),
                ]
        return found


UNLIMITED_RATES = Rates(None, None)


class Pass:
    """A request's place among those at a time: `with admission.admit(parties, tokens) as place:`.

    Leaving gives the place back, whatever happened inside. `release` may be called earlier, and
    more than once. What was asked of the minute stays used.
    """

    __slots__ = ("_held", "_second", "_tokens", "_uses", "rates")

    def __init__(self, uses: list[_Use], second: int, tokens: int, rates: Rates) -> None:
        self._uses = uses
        self._second = second
        self._tokens = tokens
        self._held = True
        self.rates = rates

    def __enter__(self) -> Pass:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def used(self, tokens: int) -> None:
        """Count the tokens that the request really took instead of those that were foreseen."""
        for use in self._uses:
            use.tokens.add(self._second, tokens - self._tokens)
        self._tokens = tokens

    def release(self) -> None:
        if self._held:
            self._held = False
            for use in self._uses:
                use.running -= 1


class Admission:
    """Who asks how much at present. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[tuple[str, str], _Use] = {}
        """Of parties with a limit only, of which there are as many as are configured."""

    def admit(self, parties: Iterable[Party], tokens: int) -> Pass:
        """A place for a request that takes about `tokens`, for all of `parties` or for none.

        A request larger than a whole minute's tokens is let in when nothing else is counted: else
        it could never be served. Raises RateLimited, with the time to wait.
        """
        now = self._clock()
        limited = [(party, self._use(party, now)) for party in parties if _is_limited(party)]
        if not limited:
            return Pass([], 0, tokens, UNLIMITED_RATES)
        if (obstacle := _longest(limited, tokens, now)) is not None:
            raise _refusal(obstacle)
        second = int(now)
        for _, use in limited:
            use.running += 1
            use.requests.add(second, 1)
            use.tokens.add(second, tokens)
        return Pass([use for _, use in limited], second, tokens, _rates(limited, now))

    def wait(self, parties: Iterable[Party], tokens: int) -> float:
        """Seconds until such a request would be let in, as far as minutes go; 0: now.

        Where only requests at a time stand in its way it is 1: nobody knows when one ends.
        """
        now = self._clock()
        limited = [(party, self._use(party, now)) for party in parties if _is_limited(party)]
        obstacle = _longest(limited, tokens, now)
        return obstacle.wait if obstacle else 0.0

    def refusal(self, parties: Iterable[Party], tokens: int) -> RateLimited | None:
        """What such a request would be refused with now; it counts as none."""
        now = self._clock()
        limited = [(party, self._use(party, now)) for party in parties if _is_limited(party)]
        obstacle = _longest(limited, tokens, now)
        return None if obstacle is None else _refusal(obstacle)

    def rates(self, parties: Iterable[Party]) -> Rates:
        """The figures as they are now."""
        now = self._clock()
        limited = [(party, self._use(party, now)) for party in parties if _is_limited(party)]
        return _rates(limited, now)

    def forget(self, parties: Iterable[Party]) -> None:
        """Keep the use of these alone: called when keys, teams and providers are read anew."""
        kept = {(party.kind, party.id) for party in parties}
        for key in [key for key, use in self._uses.items() if key not in kept and not use.running]:
            del self._uses[key]

    def _use(self, party: Party, now: float) -> _Use:
        use = self._uses.get((party.kind, party.id))
        if use is None:
            use = self._uses[party.kind, party.id] = _Use(_Window(), _Window())
        use.requests.advance(now)
        use.tokens.advance(now)
        return use


def _is_limited(party: Party) -> bool:
    limits = party.limits
    return not (limits.rpm is None and limits.tpm is None and limits.concurrency is None)


@dataclass(frozen=True, slots=True)
class _Obstacle:
    wait: float
    """Seconds."""
    party: Party
    why: str


def _longest(limited: list[tuple[Party, _Use]], tokens: int, now: float) -> _Obstacle | None:
    """What keeps a request out for the longest time, if anything does."""
    found = [one for party, use in limited for one in _obstacles(party, use, tokens, now)]
    return max(found, key=lambda one: one.wait, default=None)


def _obstacles(party: Party, use: _Use, tokens: int, now: float) -> Iterator[_Obstacle]:
    limits = party.limits
    if limits.concurrency is not None and use.running >= limits.concurrency:
        why = f"{use.running} of {limits.concurrency} requests at a time run"
        yield _Obstacle(1.0, party, why)
    asked = use.requests.total
    if limits.rpm is not None and asked >= limits.rpm:
        wait = use.requests.wait(now, asked - limits.rpm + 1)
        yield _Obstacle(wait, party, f"{asked} of {limits.rpm} requests a minute are used")
    used = use.tokens.total
    if limits.tpm is not None and used and used + tokens > limits.tpm:
        wait = use.tokens.wait(now, used + tokens - limits.tpm)
        why = f"{used} of {limits.tpm} tokens a minute are used, and this can take {tokens}"
        yield _Obstacle(wait, party, why)


def _refusal(obstacle: _Obstacle) -> RateLimited:
    seconds = max(1, math.ceil(obstacle.wait))
    return RateLimited(
        f"{obstacle.party} has had its share for now",
        why=obstacle.why,
        next_step=f"Retry in {seconds} s",
        retry_after=seconds,
    )


def _rates(limited: list[tuple[Party, _Use]], now: float) -> Rates:
    return Rates(
        _least(((party.limits.rpm, use.requests) for party, use in limited), now),
        _least(((party.limits.tpm, use.tokens) for party, use in limited), now),
    )


def _least(windows: Iterable[tuple[int | None, _Window]], now: float) -> Figures | None:
    figures = [
        Figures(limit, max(0, limit - window.total), window.reset(now))
        for limit, window in windows
        if limit is not None
    ]
    return min(figures, key=lambda one: one.remaining, default=None)
