from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.chat.usage import Usage
from server.metrics import Metrics, Series

LOCAL = Series("chat", "auto", "qwen3.5-9b:q4_k_m", "local", "holdfast")
CLOUD = Series("chat", "frontier", "cloud/large", "cloud", "cloud")
BY_MODEL = {"model": "qwen3.5-9b:q4_k_m", "route": "local", "provider": "holdfast"}
GEN_AI = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "holdfast",
    "gen_ai_request_model": "auto",
    "gen_ai_response_model": "qwen3.5-9b:q4_k_m",
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def scraped(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """As Prometheus itself reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, labels: dict[str, str]) -> float | None:
    return scraped(metrics).get((name, frozenset(labels.items())))


def serve(metrics: Metrics, series: Series = LOCAL, **others: Any) -> None:
    told: dict[str, Any] = {
        "outcome": "answered", "usage": Usage(1000, 101, 600), "cost": 0, "saved": 2_500_000,
        "seconds": 2.5, "ttft": 0.5, "predicted_ttft": 0.4,
    }  # fmt: skip
    metrics.served(series, **(told | others))


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("ai_requests_total", BY_MODEL | {"outcome": "answered"}, 2),
        ("ai_latency_seconds_sum", BY_MODEL, 5.0),
        ("ai_latency_seconds_bucket", BY_MODEL | {"le": "2.56"}, 2),
        ("ai_latency_seconds_bucket", BY_MODEL | {"le": "1.28"}, 0),
        ("ai_cost_total", BY_MODEL, 0.0),
        ("holdfast_saved_usd_total", BY_MODEL, 0.005),
        ("holdfast_cached_tokens_total", BY_MODEL, 1200),
        ("gen_ai_client_token_usage_sum", GEN_AI | {"gen_ai_token_type": "input"}, 2000),
        ("gen_ai_client_token_usage_sum", GEN_AI | {"gen_ai_token_type": "output"}, 202),
        ("gen_ai_client_operation_duration_seconds_sum", GEN_AI, 5.0),
        ("gen_ai_server_request_duration_seconds_sum", GEN_AI, 5.0),
        ("gen_ai_server_time_to_first_token_seconds_sum", GEN_AI, 1.0),
        ("gen_ai_server_time_per_output_token_seconds_sum", GEN_AI, 0.04),
        ("holdfast_predicted_time_to_first_token_seconds_sum", BY_MODEL, 0.8),
        ("holdfast_time_to_first_token_ratio_sum", BY_MODEL, 2.5),
    ],
)
def test_what_two_requests_count(
    metrics: Metrics, name: str, labels: dict[str, str], expected: float
) -> None:
    serve(metrics)
    serve(metrics)
    assert value(metrics, name, labels) == pytest.approx(expected)


def test_what_failed_before_takes_time_and_writes_no_tokens(metrics: Metrics) -> None:
    serve(metrics, seconds=4.5, waited=2.0)
    assert value(metrics, "ai_latency_seconds_sum", BY_MODEL) == 4.5
    name = "gen_ai_server_time_per_output_token_seconds_sum"
    assert value(metrics, name, GEN_AI) == pytest.approx(0.02)


def test_cost_and_outcomes_by_model(metrics: Metrics) -> None:
    labels = {"model": "cloud/large", "route": "cloud", "provider": "cloud"}
    serve(metrics, CLOUD, cost=1_500_000_000)
    serve(metrics, CLOUD, cost=500_000_000, outcome="failed", ttft=None)
    assert value(metrics, "ai_cost_total", labels) == pytest.approx(2.0)
    for outcome in ("answered", "failed"):
        assert value(metrics, "ai_requests_total", labels | {"outcome": outcome}) == 1


def test_what_is_not_known_is_not_counted(metrics: Metrics) -> None:
    serve(metrics, usage=Usage(0, 0), ttft=None)
    serve(metrics, usage=Usage(5, 1), predicted_ttft=0.0)
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_count", GEN_AI) == 1
    assert value(metrics, "gen_ai_server_time_per_output_token_seconds_count", GEN_AI) == 0
    assert value(metrics, "holdfast_time_to_first_token_ratio_count", BY_MODEL) == 0
    tokens = GEN_AI | {"gen_ai_token_type": "output"}
    assert value(metrics, "gen_ai_client_token_usage_count", tokens) == 1


def test_gauges_show_the_present_and_forget_what_is_gone(metrics: Metrics) -> None:
    metrics.set_queues({"a": (3, 2), "b": (0, 1)})
    metrics.set_breakers({"cloud/large": "open"})
    metrics.set_queues({"a": (1, 2)})
    assert value(metrics, "holdfast_queue_requests", {"model": "a"}) == 1
    assert value(metrics, "holdfast_running_requests", {"model": "a"}) == 2
    assert value(metrics, "holdfast_queue_requests", {"model": "b"}) is None
    states = {
        state: value(metrics, "holdfast_breaker_state", {"target": "cloud/large", "state": state})
        for state in ("closed", "half_open", "open")
    }
    assert states == {"closed": 0, "half_open": 0, "open": 1}
    metrics.set_breakers({})
    assert (
        value(metrics, "holdfast_breaker_state", {"target": "cloud/large", "state": "open"}) is None
    )


def test_the_ledgers_alarm(metrics: Metrics) -> None:
    assert value(metrics, "holdfast_ledger_alarm", {}) == 0
    metrics.set_ledger(alarm=True, waiting=7, lost=2, overruns=1)
    assert value(metrics, "holdfast_ledger_alarm", {}) == 1
    assert value(metrics, "holdfast_ledger_waiting_rows", {}) == 7


def test_two_registries_share_nothing(metrics: Metrics) -> None:
    serve(metrics)
    assert value(Metrics(), "ai_latency_seconds_sum", BY_MODEL) is None


def test_one_series_is_looked_up_once(metrics: Metrics) -> None:
    for _ in range(3):
        serve(metrics, Series(*LOCAL))
    assert len(metrics.tallies) == 1


def test_what_has_the_same_labels_is_told_once(metrics: Metrics) -> None:
    serve(metrics)
    serve(metrics, LOCAL._replace(asked="small"), seconds=0.5)
    assert value(metrics, "ai_requests_total", BY_MODEL | {"outcome": "answered"}) == 2
    assert value(metrics, "ai_latency_seconds_sum", BY_MODEL) == 3.0
    for asked, seconds in (("auto", 2.5), ("small", 0.5)):
        labels = GEN_AI | {"gen_ai_request_model": asked}
        assert value(metrics, "gen_ai_server_request_duration_seconds_sum", labels) == seconds
