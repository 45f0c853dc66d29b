"""A decision over 50 candidates: 8 builds here and 42 models of clouds, all of which fit.

Two figures: the decision alone, and all that is asked for a request before it: what it needs (its
task guessed, its tokens estimated), what of the prompt is in which cache, and when each candidate's
first token should come, a third of the builds being busy. The best of many rounds counts: what is
measured is a computation, and everything else on the machine can only add to it.
"""

from __future__ import annotations

import datetime
import logging
import timeit
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from server.catalogue.cloud import CloudModel, Price, Rate
from server.catalogue.router import Alias, Canary, Match, Route, Router, Task
from server.chat import ChatRequest, parse_chat
from server.routing.affinity import Prefixes
from server.routing.candidate import Candidate
from server.routing.cloud_candidate import cloud_candidate
from server.routing.local_candidate import ALL
from server.routing.needs import Caller, Needs, needs_of
from server.routing.observe import Expected, Observer
from server.routing.policy import decide

log = logging.getLogger("bench")

MICROSECONDS = Target("at most", 100.0)
_BUILDS, _CLOUDS = 8, 42
_NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Effort:
    rounds: int
    calls: int


FULL = Effort(rounds=40, calls=200)
QUICK = Effort(rounds=5, calls=100)


def measure(effort: Effort, work: Path) -> Report:
    """Raises nothing of its own."""
    field, router, request = Field(), _router(), _request()
    caller = Caller("k1")
    needs = needs_of(request, "chat", {}, caller, router, _NOW)
    candidates = field.candidates(needs)
    fit = sum(verdict.fit for verdict in decide(needs, candidates, router, spare=10**10).verdicts)

    def alone() -> None:
        decide(needs, candidates, router, spare=10**10, draw=0.4)

    def whole() -> None:
        asked = needs_of(request, "chat", {}, caller, router, _NOW)
        decide(asked, field.candidates(asked), router, spare=10**10, draw=0.4)

    decision, everything = _timed(effort, alone), _timed(effort, whole)
    log.info(
        "decision: %.0f µs alone, %.0f µs with all before it", decision.median, everything.median
    )
    case = f"{_BUILDS + _CLOUDS} candidates, {fit} of which fit"
    return Report(
        {},
        (
            Result("decision", case, "µs", decision, {}, min(decision.values), "µs", MICROSECONDS),
            Result("decision", "with needs and forecasts", "µs", everything, {},
                   min(everything.values), "µs"),
        ),
        (f"decision: the best of {effort.rounds} rounds of {effort.calls} calls",),
    )  # fmt: skip


def _timed(effort: Effort, call: Callable[[], None]) -> Sample:
    """Microseconds of a call, in each round."""
    rounds = timeit.repeat(call, number=effort.calls, repeat=effort.rounds)
    return Sample(tuple(seconds / effort.calls * 1e6 for seconds in rounds))


class Field:
    """What `Candidates` keeps of its targets, without their engines."""

    def __init__(self) -> None:
        self._clouds = [cloud_candidate(_cloud(n), {"coding": 60.0 + n}) for n in range(_CLOUDS)]
        self._builds = [(_build(n), Observer(4, Expected(900, 40, 90)), Prefixes(8, 1e6, 600))
                        for n in range(_BUILDS)]  # fmt: skip
        for number, (_, observer, _) in enumerate(self._builds):
            for _ in range(6 if number % 3 == 0 else 0):
                observer.begin(2000).started(0.0)

    def candidates(self, needs: Needs) -> tuple[Candidate, ...]:
        return (*(self._now(*one, needs) for one in self._builds), *self._clouds)

    def _now(
        self, what: Candidate, observer: Observer, prefixes: Prefixes, needs: Needs
    ) -> Candidate:
        cached = observer.cached(prefixes.cached(needs.prefix, 1.0))
        forecast = observer.forecast(1.0, needs.prompt_tokens, cached)
        return Candidate(
            what.name, what.model, "local", None, what.context, what.max_output, what.image,
            what.features, what.capability, forecast, cached,
            prompt_tokens=int(needs.prompt_tokens * observer.scale),
        )  # fmt: skip


def _cloud(number: int) -> CloudModel:
    provider = f"provider{number % 5}"
    rate = Rate(10**8 * (number + 1), 4 * 10**8 * (number + 1), 10**7 * (number + 1))
    return CloudModel(
        f"{provider}/model-{number}", provider, f"model-{number}", f"Model {number}",
        200_000, 32_000, Price(rate), image=True, features=ALL,
    )  # fmt: skip


def _build(number: int) -> Candidate:
    cloud = cloud_candidate(_cloud(number), {"coding": 61.0 + number})
    name = f"model-{number}:q4_k_m"
    return replace(cloud, name=name, side="local", provider=None, price=None, target=None)


def _router() -> Router:
    """Ten routes that do not match, as most do not."""
    routes = tuple(
        Route(f"route{n}", Match(teams=(f"team{n}",), min_tokens=10), canary=Canary("model-1", 5.0))
        for n in range(10)
    )
    return Router(
        aliases={"auto": Alias("auto", ("*",))},
        tasks={"coding": Task("coding", {"gpqa": 1.0}, floor=60.0)},
        routes=routes,
    )


def _request() -> ChatRequest:
    code = "def add(left: int, right: int) -> int:\n    return left + right\n" * 20
    messages = [
        {"role": "system", "content": "You are a careful engineer. " * 20},
        {"role": "user", "content": f"Refactor this Python function:\n{code}"},
    ]
    return parse_chat({"model": "auto", "messages": messages, "max_tokens": 800, "temperature": 0})
