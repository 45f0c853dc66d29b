"""What Prometheus is told: counters and histograms of a registry of our own.

Names: those of the OpenTelemetry conventions for generative AI (`gen_ai.*`, status: Development)
in Prometheus form, those that dashboards of gateways chart already (`ai_*`), and ours
(`holdfast_*`). Every label's values come from the configuration or from a fixed list, never from a
client's text, so that no client can make the number of series grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)

from server.chat.usage import Usage
from server.metrics.tallies import Tallies
from server.metrics.tally import Series

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"

Breaker = Literal["closed", "half_open", "open"]

# A third of all lines otherwise, and nobody charts them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All that is counted. `served` costs a few microseconds; the rest is told when it changes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tallies = Tallies()
        """Of requests."""
        self.registry.register(self.tallies)
        counter, gauge = self._counter, self._gauge
        self.queue = gauge("holdfast_queue_requests", "Requests that wait for a slot", "model")
        self.running = gauge("holdfast_running_requests", "Requests in slots", "model")
        self.breaker = gauge(
            "holdfast_breaker_state", "1 for the state that it is in", "target", "state"
        )
        self.alarm = gauge(
            "holdfast_ledger_alarm", "1 if the ledger needs a person: holdfast ps says why"
        )
        self.ledger_waiting = gauge(
            "holdfast_ledger_waiting_rows", "Rows that are not on the disk yet"
        )
        self.ledger_lost = gauge(
            "holdfast_ledger_lost_entries", "Entries, and texts to be kept, that were dropped"
        )
        self.overruns = gauge(
            "holdfast_ledger_overruns", "Requests that cost more than was reserved for them"
        )
        self.egress = counter("holdfast_egress_bytes", "Bytes of bodies sent to clouds", "provider")
        self.refused = counter(
            "holdfast_refused_requests", "Requests refused, by error code", "code"
        )

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
        waited: float = 0.0,
    ) -> None:
        """Count one request at its end. `outcome`: as the ledger has it; `cost` and `saved`:
        nano-USD; times: seconds, of which `waited` went by before what answered was asked."""
        self.tallies[series].add(outcome, usage, cost, saved, seconds, ttft, predicted_ttft, waited)

    def charged(self, series: Series, cost: int) -> None:
        """Count nano-USD for what is no request of its own: an attempt that another followed."""
        if cost:
            self.tallies[series].cost += cost

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

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)
