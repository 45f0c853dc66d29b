"""What the requests of one kind have come to, so far."""

from __future__ import annotations

from bisect import bisect_left
from typing import Literal, NamedTuple

from server.chat.usage import Usage

Operation = Literal["chat", "text_completion", "embeddings"]
"""As OpenTelemetry names them."""

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""As OpenTelemetry advises for durations of generative AI."""
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
RATIO = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)


class Series(NamedTuple):
    """What names one kind of request; all of it from the configuration.

    Asked for a model that is not there, `asked` is empty: what the client wrote is no label.
    """

    operation: Operation
    asked: str
    """The model or alias."""
    model: str
    """What answered: a build or a cloud model; empty: nothing did."""
    route: str
    """`local` or `cloud`."""
    provider: str
    """`holdfast` for what runs here."""


class Spread:
    """Values, as a histogram has them: how many are in each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        """The largest value of each bucket but the last, which has none."""
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def merge(self, other: Spread) -> None:
        """Take in all values of `other`, which has the same bounds."""
        for index, count in enumerate(other.counts):
            self.counts[index] += count
        self.sum += other.sum


class Tally:
    """Of the requests of one Series. To count one takes 2 microseconds."""

    __slots__ = ("cached", "cost", "first_token", "input", "outcomes", "output", "per_token",
                 "predicted", "ratio", "saved", "seconds")  # fmt: skip

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        """Requests by outcome."""
        self.cost = 0
        self.saved = 0
        """Nano-USD."""
        self.cached = 0
        """Prompt tokens."""
        self.seconds = Spread(SECONDS)
        """Of whole answers."""
        self.input = Spread(TOKENS)
        self.output = Spread(TOKENS)
        self.first_token = Spread(FIRST_TOKEN)
        self.per_token = Spread(PER_TOKEN)
        self.predicted = Spread(FIRST_TOKEN)
        self.ratio = Spread(RATIO)

    def add(
        self,
        outcome: str,
        usage: Usage,
        cost: int,
        saved: int,
        seconds: float,
        ttft: float | None,
        predicted_ttft: float | None,
        waited: float = 0.0,
    ) -> None:
        """One request, at its end. See Metrics.served."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.cost += cost
        self.saved += saved
        self.cached += usage.cached_tokens
        self.seconds.add(seconds)
        if usage.prompt_tokens:
            self.input.add(usage.prompt_tokens)
        if usage.completion_tokens:
            self.output.add(usage.completion_tokens)
        if ttft is None:
            return
        self.first_token.add(ttft)
        if usage.completion_tokens > 1:
            writing = seconds - waited - ttft
            self.per_token.add(writing / (usage.completion_tokens - 1))
        if predicted_ttft is not None:
            self.predicted.add(predicted_ttft)
            if predicted_ttft > 0:
                self.ratio.add(ttft / predicted_ttft)

    def merge(self, other: Tally) -> None:
        """Take in all requests of `other`."""
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.cost += other.cost
        self.saved += other.saved
        self.cached += other.cached
        self.seconds.merge(other.seconds)
        self.input.merge(other.input)
        self.output.merge(other.output)
        self.first_token.merge(other.first_token)
        self.per_token.merge(other.per_token)
        self.predicted.merge(other.predicted)
        self.ratio.merge(other.ratio)
