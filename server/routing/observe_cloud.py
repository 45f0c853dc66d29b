"""What each cloud's model was seen to do; the shape of observe.py.

A model that nobody has asked yet is taken to be quick (`ttft` in its configuration, or a guess that
is rather too short): whoever comes first finds out, while the others go by a careful guess. What
was measured half an hour ago counts no longer, and it is found out again. So one request at a time,
and no other, may be late for having tried what was not known.
"""

from __future__ import annotations

from server.chat.usage import Usage
from server.routing.candidate import Forecast
from server.routing.learning import Recent
from server.routing.observe import LEAST_DECODED
from server.routing.tokens import ABOVE

STALE = 1800.0
"""Seconds without a first token after which what was measured before counts no longer."""
CAREFUL = 1.0
"""Seconds to the first token, while somebody finds out."""


class CloudFlight:
    """One request at a cloud; heard of as a Flight is."""

    __slots__ = ("_first_at", "_guess", "_of", "_started_at", "_waits")

    def __init__(self, of: CloudObserver, guess: int) -> None:
        self._of = of
        self._guess = guess
        self._started_at: float | None = None
        self._first_at: float | None = None
        self._waits = True

    def reading(self) -> float:
        """Nobody knows, and nobody asks: a cloud's progress is what comes of it."""
        return 0.0

    def started(self, now: float) -> None:
        """It is on its way."""
        self._started_at = now

    def first(self, now: float) -> None:
        """Its first token has come."""
        self._over()
        if self._started_at is not None and self._first_at is None:
            self._first_at = now
            self._of.hear(now - self._started_at, now)

    def end(self, now: float, usage: Usage | None = None) -> None:
        """It is over; `usage` where it was answered to its end."""
        self._over()
        if usage is not None and self._first_at is not None:
            self._of.learn(self._guess, now - self._first_at, usage)
            self._first_at = None

    def _over(self) -> None:
        if self._waits:
            self._waits = False
            self._of.waited()


class CloudObserver:
    """A cloud's model: the median of its latest times to the first token, and of its speeds.

    `ttft`, `speed`: what it is taken to do until it was seen. Times are monotonic seconds.
    """

    def __init__(self, ttft: float, speed: float) -> None:
        self._guess = ttft
        self._ttft = Recent(ttft)
        self._speed = Recent(speed)
        self._counted = Recent(1 / ABOVE)
        self._waiting = 0
        """Requests whose first token has not come."""
        self._heard = 0.0
        self.forecast = Forecast(prefill=ttft, speed=speed)
        """As of the last time that anything was heard or `at` was asked."""

    def at(self, now: float) -> Forecast:
        """What is to be expected now; the same object as long as it is the same."""
        if self._ttft.count and now - self._heard > STALE:
            self._ttft = Recent(self._guess)
            self._tell()
        return self.forecast

    def begin(self, guess: int) -> CloudFlight:
        """A request is to be sent: a prompt of `guess` tokens as estimated from above; 0: nothing
        is to be learnt from what it comes to."""
        self._waiting += 1
        self._tell()
        return CloudFlight(self, guess)

    def waited(self) -> None:
        """One request waits for its first token no longer."""
        self._waiting -= 1
        self._tell()

    def counted(self, guess: int) -> int:
        """A prompt as this model counts it, from the estimate from above."""
        return int(guess * self._counted.value)

    def hear(self, ttft: float, now: float) -> None:
        """A first token came after so many seconds."""
        self._heard = now
        self._ttft.add(ttft)
        self._tell()

    def learn(self, guess: int, seconds: float, usage: Usage) -> None:
        """An answer was whole `seconds` after its first token."""
        if usage.prompt_tokens > 0 and guess:
            self._counted.add(usage.prompt_tokens / guess)
        if usage.completion_tokens >= LEAST_DECODED and seconds > 0:
            self._speed.add(usage.completion_tokens / seconds)
        self._tell()

    def _tell(self) -> None:
        measured = self._ttft.count > 0
        ttft = self._ttft.value
        if not measured and self._waiting:
            ttft = max(ttft, CAREFUL)
        told = Forecast(prefill=ttft, speed=self._speed.value, measured=measured)
        if told != self.forecast:
            self.forecast = told
