"""What overflow is worth: days of a simulated engine beside a cloud, against spillover by a count.

`scripts/bench overflow` measures the same with a real engine. Here the forecasts, the decision and
the comparison are the real ones.
"""

from __future__ import annotations

import math
import statistics
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

import pytest

from scripts.benchmarks.spillover import Outcome, spent_at
from scripts.benchmarks.trace import Ask, Mix, trace
from server.chat.usage import Usage
from server.routing.affinity import Cached
from server.routing.candidate import Forecast
from server.routing.flight import Flight
from server.routing.observe import Expected, Observer
from server.routing.policy import decide
from server.routing.tokens import ABOVE
from tests.routing.cases import ROUTER, WORLD, needs_for
from tests.routing.simulated import Engine, Request


class Rates(TypedDict):
    """Of an engine, as `Engine` takes them."""

    reads: float
    step: float
    more: float
    fixed: float


CPU: Rates = {"reads": 100.0, "step": 0.06, "more": 0.02, "fixed": 0.02}
GPU: Rates = {"reads": 5000.0, "step": 0.015, "more": 0.0015, "fixed": 0.01}
SLOTS, LOAD, SLO = 4, 0.7, 6.0
REQUESTS = 300


@dataclass(frozen=True)
class Traffic:
    mix: Mix
    rates: Rates
    scale: float
    limits: bool
    """Whether answers end at their limits; else clients set none."""

    def __str__(self) -> str:
        engine = "cpu" if self.rates is CPU else "gpu"
        return f"{self.mix} on a {engine}, {'limited' if self.limits else 'open'}"


class Box:
    """An engine, and what the router knows of it."""

    def __init__(self, rates: Rates) -> None:
        self.engine = Engine(SLOTS, one_by_one=True, tell=self._hear, **rates)
        every = SLOTS / (rates["step"] + (SLOTS - 1) * rates["more"])
        self.observer = Observer(SLOTS, Expected(1.3 * rates["reads"], 0.7 / rates["step"], every))
        self.errors: list[float] = []
        self.ttfts: list[float] = []
        self.busy = 0
        self._flights: dict[Request, tuple[Flight, Ask, float]] = {}
        self._kept: OrderedDict[int, int] = OrderedDict()
        """Sessions whose last prompt is in a cache, with its tokens."""

    def cached(self, ask: Ask) -> Cached:
        held = min(ask.seen, self._kept.get(ask.session, 0))
        return Cached(held, held > 0)

    def take(self, ask: Ask, limit: int | None, predicted: Forecast) -> None:
        thought = self.cached(ask)
        flight = self.observer.begin(int(ask.prompt * ABOVE), thought, limit)
        flight.asked_at, flight.foretold = ask.at, predicted
        request = Request(ask.at, ask.prompt, ask.answer, thought.tokens)
        self._flights[request] = (flight, ask, predicted.ttft)
        self.busy += 1
        self.engine.ask(request)

    def _hear(self, kind: str, request: Request, now: float) -> None:
        flight, ask, predicted = self._flights[request]
        if kind == "seated":
            flight.seated(now)
        elif kind == "started":
            flight.started(now)
        elif kind == "first":
            flight.first(now)
            self.ttfts.append(now - request.at)
            self.errors.append(abs(predicted - self.ttfts[-1]) / self.ttfts[-1])
            self._kept[ask.session] = ask.prompt
            self._kept.move_to_end(ask.session)
            if len(self._kept) > 2 * SLOTS:
                self._kept.popitem(last=False)
        else:
            self.busy -= 1
            flight.end(now, Usage(ask.prompt, ask.answer, request.cached))


Choice = Callable[[Box, Ask, float], bool]
"""Whether a request is answered here. With the SLO, in seconds."""


def by_count(threshold: int) -> Choice:
    return lambda box, ask, slo: box.busy < threshold


def by_forecast(box: Box, ask: Ask, slo: float) -> bool:
    guess = int(ask.prompt * ABOVE)
    forecast = box.observer.forecast(ask.at, guess, box.observer.cached(box.cached(ask)))
    here = replace(WORLD["small"], forecast=forecast)
    needs = needs_for("auto", prompt_tokens=guess, max_tokens=None, slo_ttft=slo)
    return decide(needs, (here, WORLD["mini"]), ROUTER).attempts[0] is here


def replayed(
    traffic: Traffic, asks: tuple[Ask, ...], slo: float, here: Choice
) -> tuple[Outcome, Box]:
    box = Box(traffic.rates)
    spent = 0.0
    for ask in asks:
        box.engine.run_until(ask.at)
        guess = int(ask.prompt * ABOVE)
        predicted = box.observer.forecast(ask.at, guess, box.observer.cached(box.cached(ask)))
        if here(box, ask, slo):
            box.take(ask, ask.answer if traffic.limits else None, predicted)
        else:
            spent += 0.4 * ask.prompt + 1.6 * ask.answer
    box.engine.run_until(math.inf)
    late = sum(ttft > slo for ttft in box.ttfts)
    return Outcome(1 - late / len(asks), spent), box


def compared(traffic: Traffic, seed: int) -> tuple[float, float]:
    """Spend as a part of what the best mixture of counts spends to attain as much, and the median
    error of the forecasts."""
    rates = traffic.rates
    token = (rates["step"] + (SLOTS - 1) * rates["more"]) / SLOTS
    drawn = trace(traffic.mix, seed, REQUESTS, 1000.0, traffic.scale)
    work = sum((ask.prompt - ask.seen) / rates["reads"] + ask.answer * token for ask in drawn)
    asks = trace(traffic.mix, seed, REQUESTS, work / LOAD, traffic.scale)
    slo = SLO * statistics.fmean(ask.prompt - ask.seen for ask in asks) / rates["reads"]
    ours, box = replayed(traffic, asks, slo, by_forecast)
    assert ours.attained > 0.95
    counted = {0: Outcome(1.0, sum(0.4 * ask.prompt + 1.6 * ask.answer for ask in asks))}
    for threshold in (1, 2, 3, 4, 5, 6, 8, 12):
        counted[threshold], _ = replayed(traffic, asks, slo, by_count(threshold))
    equal = spent_at(ours.attained, counted)
    assert equal
    return ours.spent / equal, statistics.median(box.errors)


@pytest.mark.parametrize(
    ("traffic", "ratio"),
    [
        (Traffic("azure", CPU, 1 / 16, limits=True), 0.7),
        (Traffic("azure", CPU, 1 / 16, limits=False), 0.75),
        (Traffic("azure", GPU, 1.0, limits=False), 0.85),
        (Traffic("agents", CPU, 1 / 16, limits=True), 0.75),
        (Traffic("agents", CPU, 1 / 16, limits=False), 0.75),
        (Traffic("agents", GPU, 1.0, limits=True), 0.75),
    ],
    ids=str,
)
def test_overflow_costs_less_than_the_best_counts(traffic: Traffic, ratio: float) -> None:
    found = [compared(traffic, seed) for seed in (1, 2)]
    assert statistics.fmean(spent for spent, _ in found) < ratio
    assert statistics.median(error for _, error in found) < 0.2
