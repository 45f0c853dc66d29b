from __future__ import annotations

from dataclasses import replace

import pytest

from server.chat.usage import Usage
from server.ledger.book import Health
from server.ledger.counting import Counting, show
from server.metrics import Metrics
from tests.ledger.money import entry


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def lines(metrics: Metrics, beginning: str) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith(beginning)]


def test_an_entry_is_counted_where_it_belongs(metrics: Metrics) -> None:
    count = Counting(metrics, {"auto"}.__contains__)
    count(replace(entry(1_500_000_000, 7), usage=Usage(7, 3), endpoint="embeddings"))
    assert lines(metrics, "ai_cost_total") == [
        'ai_cost_total{model="cloud/large",provider="cloud",route="cloud"} 1.5'
    ]
    (tokens,) = [
        line for line in lines(metrics, "gen_ai_client_token_usage_sum") if '"output"' in line
    ]
    for label in ('operation_name="embeddings"', 'request_model="auto"', 'provider_name="cloud"'):
        assert label in tokens


def test_the_attempts_before_are_no_time_of_writing(metrics: Metrics) -> None:
    whole = replace(entry(), usage=Usage(7, 3), seconds=9.0, waited=6.0, ttft=1.0)
    Counting(metrics, {"auto"}.__contains__)(whole)
    (told,) = lines(metrics, "gen_ai_server_time_per_output_token_seconds_sum")
    assert told.endswith(" 1.0")
    (told,) = lines(metrics, "ai_latency_seconds_sum")
    assert told.endswith(" 9.0")


def test_what_a_client_wrote_is_no_label(metrics: Metrics) -> None:
    count = Counting(metrics, {"auto"}.__contains__)
    for number in range(50):
        count(replace(entry(), asked=f"made-up-{number}"))
    assert "made-up" not in metrics.render().decode()
    assert len(metrics.tallies) == 1


def test_an_attempt_that_another_followed_costs_and_is_no_request(metrics: Metrics) -> None:
    count = Counting(metrics, {"auto"}.__contains__)
    count(entry(2_000_000_000, final=False, outcome="failed"))
    assert lines(metrics, "ai_cost_total")[0].endswith(" 2.0")
    assert lines(metrics, "ai_requests_total") == []
    assert not any(line.endswith(" 1.0") for line in lines(metrics, "ai_latency_seconds_count"))


def test_an_alarm_is_shown(metrics: Metrics) -> None:
    show(metrics, Health(False, "the disk is full", 7, 1, 0, 0))
    assert lines(metrics, "holdfast_ledger_alarm") == ["holdfast_ledger_alarm 1.0"]
    assert lines(metrics, "holdfast_ledger_waiting_rows") == ["holdfast_ledger_waiting_rows 7.0"]
    show(metrics, Health(True, "", 0, 1, 0, 0))
    assert lines(metrics, "holdfast_ledger_alarm") == ["holdfast_ledger_alarm 0.0"]
