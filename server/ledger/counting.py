"""The ledger's entries and health, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from server.ledger.book import Health
from server.ledger.entry import Entry
from server.metrics import Metrics, Operation, Series

_OPERATIONS: Mapping[str, Operation] = {
    "completions": "text_completion",
    "embeddings": "embeddings",
}


class Counting:
    """Counts each entry that it is called with.

    `is_configured` tells whether a name is one of the configuration's models or aliases: any other
    that a client asked for becomes no label.
    """

    def __init__(self, metrics: Metrics, is_configured: Callable[[str], bool]) -> None:
        self._metrics = metrics
        self._is_configured = is_configured

    def __call__(self, entry: Entry) -> None:
        series = Series(
            operation=_OPERATIONS.get(entry.endpoint, "chat"),
            asked=entry.asked if self._is_configured(entry.asked) else "",
            model=entry.model,
            route=entry.route,
            provider=entry.provider or "holdfast",
        )
        if not entry.final:
            self._metrics.charged(series, entry.cost)
            return
        self._metrics.served(
            series,
            outcome=entry.outcome,
            usage=entry.usage,
            cost=entry.cost,
            saved=entry.saved,
            seconds=entry.seconds,
            ttft=entry.ttft,
            predicted_ttft=entry.predicted_ttft,
            waited=entry.waited,
        )


def show(metrics: Metrics, health: Health) -> None:
    """Before each scrape."""
    metrics.set_ledger(
        alarm=bool(health.alarm),
        waiting=health.waiting,
        lost=health.lost,
        overruns=health.overruns,
    )
