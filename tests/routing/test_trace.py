from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from server.chat.usage import Usage
from server.errors import NoRoute, ProviderBusy, ProviderError
from server.ledger.entry import Outcome
from server.routing.candidate import Candidate
from server.routing.decision import Decision
from server.routing.needs import Needs
from server.routing.trace import Span, Trace, Tried, spans
from tests.routing.cases import WORLD

HERE, THERE = WORLD["small"], WORLD["mini"]
NEEDS = Needs(
    asked="auto", endpoint="chat", task="chat", task_from="inferred", prompt_tokens=20,
    max_tokens=50, key="k", time=datetime.time(12),
)  # fmt: skip
SECRET = "what was said in the prompt"


def trace(*tried: Tried, decided: bool = True) -> Trace:
    made = Trace("/v1/chat/completions", "r1", "k", {}, False, wall=10**18, began=100.0)
    made.needs, made.deciding = NEEDS, 100.001
    if decided:
        made.decision = Decision((HERE, THERE), "overflow", (), "cheapest", route="work")
        made.decided = 100.002
    made.tried += tried
    return made


def tried(
    candidate: Candidate, outcome: Outcome = "answered", error: ProviderError | None = None
) -> Tried:
    return Tried(
        candidate=candidate, began=100.002, first_at=None if error else 100.5, ended=101.0,
        outcome=outcome, error=error, usage=Usage(20, 7, 4), cost=2_000_000,
    )  # fmt: skip


def told(made: Trace, error: ProviderError | NoRoute | None = None, *, started: bool = True,
         left: bool = False) -> list[Span]:  # fmt: skip
    made.end(error, left=left, started=started)
    made.ended = 101.0
    return list(spans(made))


def test_an_answer_after_a_failure() -> None:
    busy = ProviderBusy("it is busy", why=SECRET)
    root, decide, first, second = told(trace(tried(THERE, "failed", busy), tried(HERE)))
    assert (root.name, root.kind, root.failed) == ("POST /v1/chat/completions", "server", False)
    assert (root.began, root.ended) == (10**18, 10**18 + 10**9)
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["gen_ai.response.model"] == HERE.name
    assert root.attributes["gen_ai.provider.name"] == "holdfast"
    assert root.attributes["gen_ai.usage.output_tokens"] == 7
    assert root.attributes["gen_ai.request.max_tokens"] == 50
    assert root.attributes["holdfast.attempts"] == 2
    assert root.attributes["holdfast.cost_usd"] == 0.004
    assert (decide.name, decide.ended - decide.began) == ("decide", 1_000_000)
    assert decide.attributes["holdfast.route_id"] == "work"
    assert decide.attributes["holdfast.order"] == [HERE.name, THERE.name]
    assert (first.kind, first.failed, first.first_token) == ("client", True, None)
    assert first.attributes["gen_ai.provider.name"] == "openai"
    assert first.attributes["error.type"] == busy.code or busy.type
    assert second.name == f"chat {HERE.model}"
    assert second.first_token == 10**18 + 500_000_000
    assert second.attributes["holdfast.ttft"] == pytest.approx(0.498)
    assert second.attributes["gen_ai.usage.cache_read.input_tokens"] == 4


def test_nothing_that_was_said_is_told() -> None:
    error = ProviderError("it failed", why=SECRET)
    assert SECRET not in repr(told(trace(tried(THERE, "failed", error)), error, started=False))


@pytest.mark.parametrize(
    ("error", "started", "left", "status", "failed"),
    [
        (None, True, False, 200, False),
        (NoRoute("no"), False, False, 400, False),
        (ProviderError("no"), False, False, 502, True),
        (ProviderError("no"), True, False, 200, True),
        (None, False, True, None, False),
        (None, True, True, 200, False),
    ],
)
def test_how_it_ended(
    error: ProviderError | NoRoute | None,
    started: bool,
    left: bool,
    status: int | None,
    failed: bool,
) -> None:
    root = told(trace(tried(HERE)), error, started=started, left=left)[0]
    assert root.attributes.get("http.response.status_code") == status
    assert root.failed is failed
    assert ("error.type" in root.attributes) == (error is not None)
    assert (root.attributes.get("holdfast.outcome") == "left") == left


def test_a_request_that_nothing_may_answer_ends_with_its_decision() -> None:
    root, decide = told(trace(decided=False), NoRoute("no"), started=False)
    assert decide.failed
    assert decide.ended == root.ended
    assert "holdfast.attempts" not in root.attributes


def test_a_request_that_was_never_read_has_one_span() -> None:
    made = replace(trace(), needs=None, decision=None, tried=[])
    (root,) = told(made, NoRoute("no"), started=False)
    assert "gen_ai.request.model" not in root.attributes
