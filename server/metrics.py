"""What Prometheus is told: counters and histograms of a registry of our own.

Names: those of the OpenTelemetry conventions for generative AI (`gen_ai.*`, status: Development)
in Prometheus form, those that dashboards of gateways chart already (`ai_*`), and ours
(`holdfast_*`). Every label's values come from the configuration or from a fixed list, never from a
client's text, so that no client can make the number of series grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from server.chat.usage import Usage
from server.record import record

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"

Operation = Literal["chat", "text_completion", "embeddings"]
"""As OpenTelemetry names them."""
Breaker = Literal["closed", "half_open", "open"]

# A third of all lines otherwise, and nobody charts them.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""As OpenTelemetry advises for durations of generative AI."""
_FIRST_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
_RATIO = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
_NANO = 1e-9


@record()
class Series:
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


class _Children:
    """The counters of one Series, looked up once."""

    def __init__(self, metrics: Metrics, series: Series) -> None:
        gen_ai = (series.operation, series.provider, series.asked, series.model)
        by_model = (series.model, series.route, series.provider)
        self.requests: dict[str, Counter] = {}
        self.by_model = by_model
        self.latency = metrics.latency.labels(*by_model)
        self.cost = metrics.cost.labels(*by_model)
        self.saved = metrics.saved.labels(*by_model)
        self.input = metrics.token_usage.labels(*gen_ai, "input")
        self.output = metrics.token_usage.labels(*gen_ai, "output")
        self.cached = metrics.cached.labels(*by_model)
        self.duration = metrics.duration.labels(*gen_ai)
        self.operation = metrics.operation.labels(*gen_ai)
        self.first_token = metrics.first_token.labels(*gen_ai)
        self.per_token = metrics.per_token.labels(*gen_ai)
        self.predicted = metrics.predicted.labels(*by_model)
        self.ratio = metrics.ratio.labels(*by_model)


class Metrics:
    """All that is counted. `served` costs a few microseconds; the rest is told when it changes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[Series, _Children] = {}
        by_model = ("model", "route", "provider")
        gen_ai = (
            "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model",
            "gen_ai_response_model",
        )  # fmt: skip
        counter, histogram, gauge = self._counter, self._histogram, self._gauge
        self.requests = counter("ai_requests", "Requests, by outcome", *by_model, "outcome")
        self.latency = histogram("ai_latency_seconds", "Whole answers", _SECONDS, *by_model)
        self.cost = counter("ai_cost", "USD spent", *by_model)
        self.saved = counter("holdfast_saved_usd", "USD the cheapest cloud was dearer", *by_model)
        self.cached = counter("holdfast_cached_tokens", "Prompt tokens from caches", *by_model)
        self.token_usage = histogram(
            "gen_ai_client_token_usage", "Tokens of requests", _TOKENS, *gen_ai, "gen_ai_token_type"
        )
        self.duration = histogram(
            "gen_ai_server_request_duration_seconds", "Whole answers", _SECONDS, *gen_ai
        )
        self.operation = histogram(
            "gen_ai_client_operation_duration_seconds", "Whole answers", _SECONDS, *gen_ai
        )
        self.first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds", "As it was", _FIRST_TOKEN, *gen_ai
        )
        self.per_token = histogram(
            "gen_ai_server_time_per_output_token_seconds", "After the first", _PER_TOKEN, *gen_ai
        )
        self.predicted = histogram(
            "holdfast_predicted_time_to_first_token_seconds", "As foreseen", _FIRST_TOKEN, *by_model
        )
        self.ratio = histogram(
            "holdfast_time_to_first_token_ratio", "As it was over as foreseen", _RATIO, *by_model
        )
        self.queue = gauge("holdfast_queue_requests", "Requests that wait for a slot", "model")
        self.running = gauge("holdfast_running_requests", "Requests in slots", "model")
        self.breaker = gauge("holdfast_breaker_state", "1: its state", "target", "state")
        self.alarm = gauge("holdfast_ledger_alarm", "1: the ledger needs a person")
        self.ledger_waiting = gauge("holdfast_ledger_waiting_rows", "Rows not on the disk yet")
        self.ledger_lost = gauge("holdfast_ledger_lost_entries", "Entries that were dropped")
        self.overruns = gauge("holdfast_ledger_overruns", "Requests dearer than was reserved")
        self.egress = counter("holdfast_egress_bytes", "Bodies sent to clouds, bytes", "provider")
        self.refused = counter("holdfast_refused_requests", "Requests refused, by code", "code")

    def served(
        self,
        series: Series,
        *,
        outcome: str,
        usage: Usage,
        cost: int,
        saved: int,
        seconds: float,
        ttft: float | None,
        predicted_ttft: float | None,
    ) -> None:
        """Count one request at its end. `outcome`: as the ledger has it; `cost` and `saved`:
        nano-USD; times: seconds."""
        children = self._of(series)
        requests = children.requests.get(outcome)
        if requests is None:
            requests = self.requests.labels(*children.by_model, outcome)
            children.requests[outcome] = requests
        requests.inc()
        children.latency.observe(seconds)
        children.duration.observe(seconds)
        children.operation.observe(seconds)
        if cost:
            children.cost.inc(cost * _NANO)
        if saved:
            children.saved.inc(saved * _NANO)
        if usage.prompt_tokens:
            children.input.observe(usage.prompt_tokens)
        if usage.cached_tokens:
            children.cached.inc(usage.cached_tokens)
        if usage.completion_tokens:
            children.output.observe(usage.completion_tokens)
        if ttft is None:
            return
        children.first_token.observe(ttft)
        if usage.completion_tokens > 1:
            children.per_token.observe((seconds - ttft) / (usage.completion_tokens - 1))
        if predicted_ttft is not None:
            children.predicted.observe(predicted_ttft)
            if predicted_ttft > 0:
                children.ratio.observe(ttft / predicted_ttft)

    def charged(self, series: Series, cost: int) -> None:
        """Count nano-USD for what is no request of its own: an attempt that another followed."""
        if cost:
            self._of(series).cost.inc(cost * _NANO)

    def set_queues(self, queues: Mapping[str, tuple[int, int]]) -> None:
        """Requests that wait and that run, by build; what is not named is gone."""
        for gauge, which in ((self.queue, 0), (self.running, 1)):
            gauge.clear()
            for model, counts in queues.items():
                gauge.labels(model).set(counts[which])

    def set_breakers(self, states: Mapping[str, Breaker]) -> None:
        """The state of each target's breaker; what is not named is gone."""
        self.breaker.clear()
        for target, state in states.items():
            for one in ("closed", "half_open", "open"):
                self.breaker.labels(target, one).set(state == one)

    def set_ledger(self, *, alarm: bool, waiting: int, lost: int, overruns: int) -> None:
        """How the ledger is, as its `health` has it."""
        self.alarm.set(alarm)
        self.ledger_waiting.set(waiting)
        self.ledger_lost.set(lost)
        self.overruns.set(overruns)

    def render(self) -> bytes:
        """All of it in Prometheus' text format (CONTENT_TYPE)."""
        return generate_latest(self.registry)

    def _of(self, series: Series) -> _Children:
        children = self._children.get(series)
        if children is None:
            children = self._children[series] = _Children(self, series)
        return children

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: Iterable[float], *labels: str
    ) -> Histogram:
        return Histogram(name, about, labels, buckets=tuple(buckets), registry=self.registry)
