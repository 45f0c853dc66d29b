"""The tallies of all kinds of requests, as Prometheus is told of them.

`prometheus_client` counts each figure under a lock and goes through a histogram's buckets one by
one: 9 microseconds for a request, where a tally takes 2 (measured). So requests are counted in
tallies of our own, of which metrics are made when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from server.metrics.tally import Series, Spread, Tally

Labels = tuple[str, ...]

_USD = 1e-9
"""Of a nano-USD."""
_MODEL = ("model", "route", "provider")
_GEN_AI = (
    "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model",
    "gen_ai_response_model",
)  # fmt: skip


class Tallies(Collector):
    """By Series; made as they come up. A registry collects metrics of them."""

    def __init__(self) -> None:
        self._of: dict[Series, Tally] = {}

    def __getitem__(self, series: Series) -> Tally:
        tally = self._of.get(series)
        if tally is None:
            tally = self._of[series] = Tally()
        return tally

    def __len__(self) -> int:
        return len(self._of)

    def collect(self) -> Iterator[Metric]:
        yield from _by_model(self._by(lambda s: (s.model, s.route, s.provider)))
        yield from _gen_ai(self._by(lambda s: (s.operation, s.provider, s.asked, s.model)))

    def _by(self, labels_of: Callable[[Series], Labels]) -> Mapping[Labels, Tally]:
        """What has the same labels, as one."""
        found: dict[Labels, Tally] = {}
        for series, tally in self._of.items():
            found.setdefault(labels_of(series), Tally()).merge(tally)
        return found


def _by_model(tallies: Mapping[Labels, Tally]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "ai_requests", "Requests, by outcome", labels=(*_MODEL, "outcome")
    )
    cost = CounterMetricFamily("ai_cost", "US dollars spent at clouds", labels=_MODEL)
    saved = CounterMetricFamily(
        "holdfast_saved_usd",
        "US dollars that the cheapest cloud would have cost more",
        labels=_MODEL,
    )
    cached = CounterMetricFamily(
        "holdfast_cached_tokens", "Tokens of prompts that came from caches", labels=_MODEL
    )
    latency = _Histogram(
        "ai_latency_seconds", "Seconds from a request to the end of its answer", labels=_MODEL
    )
    predicted = _Histogram(
        "holdfast_predicted_time_to_first_token_seconds",
        "Seconds to the first token, as predicted",
        labels=_MODEL,
    )
    ratio = _Histogram(
        "holdfast_time_to_first_token_ratio",
        "Actual over predicted time to the first token",
        labels=_MODEL,
    )
    for labels, tally in tallies.items():
        for outcome, count in tally.outcomes.items():
            requests.add_metric((*labels, outcome), count)
        cost.add_metric(labels, tally.cost * _USD)
        saved.add_metric(labels, tally.saved * _USD)
        cached.add_metric(labels, tally.cached)
        latency.add(labels, tally.seconds)
        predicted.add(labels, tally.predicted)
        ratio.add(labels, tally.ratio)
    return iter((requests, cost, saved, cached, latency, predicted, ratio))


def _gen_ai(tallies: Mapping[Labels, Tally]) -> Iterator[Metric]:
    """As OpenTelemetry's conventions have them."""
    usage = _Histogram(
        "gen_ai_client_token_usage",
        "Tokens of requests, by type",
        labels=(*_GEN_AI, "gen_ai_token_type"),
    )
    duration = _Histogram(
        "gen_ai_server_request_duration_seconds",
        "Seconds from a request to the end of its answer",
        labels=_GEN_AI,
    )
    operation = _Histogram(
        "gen_ai_client_operation_duration_seconds",
        "Seconds from a request to the end of its answer",
        labels=_GEN_AI,
    )
    first = _Histogram(
        "gen_ai_server_time_to_first_token_seconds",
        "Seconds to the first token, from when what answered was asked",
        labels=_GEN_AI,
    )
    then = _Histogram(
        "gen_ai_server_time_per_output_token_seconds",
        "Seconds for each token after the first",
        labels=_GEN_AI,
    )
    for labels, tally in tallies.items():
        usage.add((*labels, "input"), tally.input)
        usage.add((*labels, "output"), tally.output)
        duration.add(labels, tally.seconds)
        operation.add(labels, tally.seconds)
        first.add(labels, tally.first_token)
        then.add(labels, tally.per_token)
    return iter((usage, duration, operation, first, then))


class _Histogram(HistogramMetricFamily):
    def add(self, labels: Labels, spread: Spread) -> None:
        bounds = map(floatToGoString, (*spread.bounds, math.inf))
        counts = map(float, accumulate(spread.counts))
        self.add_metric(labels, list(zip(bounds, counts, strict=True)), spread.sum)
