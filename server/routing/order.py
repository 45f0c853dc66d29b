"""The order in which candidates that fit are tried, by policy. Pure.

- `cheapest` and `local-only`: what should keep the SLO even if things go rather badly, the cheapest
  first; of equally cheap ones what is loaded, then what should be done first. After them what may
  be late, by its first token.
- `fastest`: what should be done with the whole answer first.
- `most-capable`: by capability for the task, to the point; then in the order in which the alias or
  route names them, then as `cheapest`. Where it is not known of one that is named there, the order
  of the names stands in for it.
- `weighted`: one is drawn by the weights; the others follow, the heaviest first.

A candidate that may have too little room for the whole answer stands behind those that have it. A
session stays where its last request went unless elsewhere is better by more than `HABIT` of the
time: what caches save is in the forecast already, but not what going to and fro loses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from server.catalogue.router import PolicyName
from server.chat.usage import Usage
from server.ledger.cost import cost
from server.routing.candidate import Candidate
from server.routing.fit import Case
from server.routing.match import is_name, rank

HABIT = 0.2
"""Part of the expected time by which another target must be better for a session to move."""
ANSWER = 400
"""Tokens of an answer whose length nobody knows, for comparing costs and times."""

Key = tuple[float, ...]
_MILLION = 1_000_000  # prices are for so many tokens


class Order:
    """For one request. `bridge`: whether loading a model counts as being late; `draw`: see
    policy.decide."""

    def __init__(self, case: Case, draw: float, *, bridge: bool) -> None:
        needs = case.needs
        self.slo = case.choice.slo
        self._case = case
        self._draw = draw
        self._bridge = bridge
        self._answer = min(needs.max_tokens or ANSWER, ANSWER) * needs.n
        self._prompt = needs.prompt_tokens
        self._usage = Usage(self._prompt, self._answer)
        self._room = needs.max_tokens or 0
        self._by_name = False
        # What lost its floor gets the best that there is.
        lowered = case.floor < case.choice.floor
        self._policy: PolicyName = "most-capable" if lowered else case.choice.policy

    @property
    def key(self) -> Callable[[Candidate], Key] | None:
        """What is sorted by, the least first; None: nothing is.

        Not kept: with its own method in it an order would be a cycle, and the whole request with
        it, until the collector of garbage comes by.
        """
        match self._policy:
            case "weighted":
                return None
            case "fastest":
                return self._fastest
            case "most-capable":
                return self._most_capable
        return self._cheapest

    def ranked(self, fit: Sequence[Candidate]) -> list[Candidate]:
        """Those that fit, the first to be tried first."""
        key = self.key
        if key is None:
            return self._weighted(fit)
        if self._policy == "most-capable":
            task = self._case.needs.task
            self._by_name = any(task not in c.capability and self._is_named(c) for c in fit)
        return sorted(fit, key=key) if len(fit) > 1 else list(fit)

    def late(self, c: Candidate) -> bool:
        """Whether its first token may come after the SLO."""
        forecast = c.forecast
        return forecast.latest - (0.0 if self._bridge else forecast.load) > self.slo

    def cost(self, c: Candidate) -> int:
        """Nano-USD that it should cost there."""
        if c.price is None:
            return 0
        if not c.cached_tokens:
            return cost(c.price, self._usage)
        cached = min(c.cached_tokens, self._prompt)
        return cost(c.price, Usage(self._prompt, self._answer, cached))

    def _cheapest(self, c: Candidate) -> Key:
        """Laid out for speed, as every candidate of most requests comes here: it says what `late`,
        `_seconds` and `_short` say."""
        forecast, load = c.forecast, c.forecast.load
        queue, prefill = forecast.queue, forecast.prefill
        seconds = ttft = load + queue + prefill
        late = max(queue * forecast.queue_margin, forecast.queue_late)
        worst = load + late + prefill * forecast.margin
        if forecast.speed:
            seconds += self._answer / forecast.speed
        short = (c.prompt_tokens or self._prompt) + self._room > c.context
        habit = 1 - HABIT if c.sticky else 1.0
        if worst > self.slo and (self._bridge or worst - load > self.slo):
            return (1, short, ttft * habit)
        price = c.price
        if price is None:
            return (0, short, 0, load > 0, seconds * habit)
        if price.tiers or c.cached_tokens:
            return (0, short, self.cost(c) * _MILLION, 0, seconds * habit)
        rate = price.rate
        spent = self._prompt * rate.input + self._answer * rate.output
        return (0, short, spent, 0, seconds * habit)

    def _fastest(self, c: Candidate) -> Key:
        return (self._short(c), self._seconds(c), self.cost(c))

    def _most_capable(self, c: Candidate) -> Key:
        capability = 0.0 if self._by_name else c.capability.get(self._case.needs.task, 0.0)
        return (-round(capability), self._place(c), *self._cheapest(c))

    def _place(self, c: Candidate) -> int:
        return rank(self._case.choice.patterns, c.name, c.side)

    def _is_named(self, c: Candidate) -> bool:
        place = self._place(c)
        return place >= 0 and is_name(self._case.choice.patterns[place])

    def _weighted(self, fit: Sequence[Candidate]) -> list[Candidate]:
        others = sorted(fit, key=lambda c: (-self._weight(c), self._cheapest(c)))
        at = self._draw * sum(map(self._weight, fit))
        for c in fit:
            at -= self._weight(c)
            if at < 0:
                return [c, *(other for other in others if other is not c)]
        return others

    def _weight(self, c: Candidate) -> float:
        route = self._case.choice.route
        for pattern, weight in route.weights.items() if route else ():
            if rank((pattern,), c.name, c.side) >= 0:
                return weight
        return 0.0

    def _seconds(self, c: Candidate) -> float:
        """Until a usual answer is whole; less by HABIT for where the session was."""
        forecast = c.forecast
        seconds = forecast.load + forecast.queue + forecast.prefill
        if forecast.speed:
            seconds += self._answer / forecast.speed
        return seconds * (1 - HABIT) if c.sticky else seconds

    def _short(self, c: Candidate) -> bool:
        """Whether there may be too little room for the whole answer."""
        return (c.prompt_tokens or self._prompt) + self._room > c.context
