"""What each cloud's model was seen to do; the shape of observe.py."""

from __future__ import annotations

from server.chat.usage import Usage
from server.routing.candidate import Forecast
from server.routing.learning import Recent
from server.routing.observe import LEAST_DECODED
from server.routing.tokens import ABOVE


class CloudFlight:
    """One request at a cloud; heard of as a Flight is."""

    __slots__ = ("_first_at", "_guess", "_of", "_started_at")

    def __init__(self, of: CloudObserver, guess: int) -> None:
        self._of = of
        self._guess = guess
        self._started_at: float | None = None
        self._first_at: float | None = None

    def started(self, now: float) -> None:
        """It is on its way."""
        self._started_at = now

    def first(self, now: float) -> None:
        """Its first token has come."""
        if self._started_at is not None and self._first_at is None:
            self._first_at = now
            self._of.hear(now - self._started_at)

    def end(self, now: float, usage: Usage | None = None) -> None:
        """It is over; `usage` where it was answered to its end."""
        if usage is not None and self._first_at is not None:
            self._of.learn(self._guess, now - self._first_at, usage)
            self._first_at = None


class CloudObserver:
    """A cloud's model: the median of its latest times to the first token, and of its speeds."""

    def __init__(self, ttft: float, speed: float) -> None:
        self._ttft = Recent(ttft)
        self._speed = Recent(speed)
        self._counted = Recent(1 / ABOVE)
        self.forecast = Forecast(prefill=ttft, speed=speed)

    def begin(self, guess: int) -> CloudFlight:
        """A request is to be sent: a prompt of `guess` tokens as estimated from above."""
        return CloudFlight(self, guess)

    def counted(self, guess: int) -> int:
        """A prompt as this model counts it, from the estimate from above."""
        return int(guess * self._counted.value)

    def hear(self, ttft: float) -> None:
        """A first token came after so many seconds."""
        self._ttft.add(ttft)
        self._tell()

    def learn(self, guess: int, seconds: float, usage: Usage) -> None:
        """An answer was whole `seconds` after its first token."""
        if usage.prompt_tokens > 0:
            self._counted.add(usage.prompt_tokens / guess)
        if usage.completion_tokens >= LEAST_DECODED and seconds > 0:
            self._speed.add(usage.completion_tokens / seconds)
        self._tell()

    def _tell(self) -> None:
        self.forecast = Forecast(
            prefill=self._ttft.value, speed=self._speed.value, measured=self._ttft.count > 0
        )
