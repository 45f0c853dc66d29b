"""The JSON of `POST /admin/route/explain`."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import orjson
import pytest

from server.catalogue.router import Limits
from server.errors import RateLimited, RequestError
from server.ledger.keys import Terms
from server.routing.explain import explanation, read_question
from tests.routing.cases import ROUTER, WORLD, needs_for, parse

NOW = datetime.datetime(2026, 11, 21, 10, 30, tzinfo=datetime.UTC)
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}


def test_every_candidate_has_its_reason_in_order() -> None:
    row = parse("auto tokens=45000 images=1 opus.down=broken small.queue=3 |")
    found = explanation(row.needs, row.candidates, row.router)
    assert orjson.loads(orjson.dumps(found)) == found
    assert found["error"] is None
    told = [(c["name"], c["attempt"], c["fit"]) for c in found["candidates"]]
    assert told == [
        ("qwen3.5-27b:q4_k_m", 1, True),
        ("google/flash", 2, True),
        ("openai/mini", 3, True),
        ("qwen3.5-4b:q4_k_m", None, False),
        ("anthropic/opus", None, False),
        ("openai/vectors", None, False),
    ]
    reasons = {c["name"]: c["reason"] for c in found["candidates"]}
    assert reasons["qwen3.5-27b:q4_k_m"] == (
        "free, first token in 1.0 s, 12 tokens/s, capability 70.0 for chat"
    )
    assert reasons["google/flash"].startswith("about $0.0145, first token in 500 ms, 150 tokens/s")
    assert reasons["qwen3.5-4b:q4_k_m"] == "it does not see images, and there is 1"
    assert reasons["anthropic/opus"] == "broken"
    assert found["decision"]["attempts"][0] == "qwen3.5-27b:q4_k_m"
    assert found["request"]["prompt_tokens"] == 45000


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        ("auto small.queue=2 small.load=9", "small", "first token in 11.3 s (load 9.0 s + queue"),
        ("auto small.queue=40", "small", "later than the 30.0 s asked for"),
        ("auto small.cached=700", "small", "700 tokens in its cache"),
        ("auto small.sticky", "small", "the session was there"),
        ("frontier", "small", "not among what 'frontier' stands for (cloud)"),
        ("openai/mini", "small", "not what was asked for"),
        ("auto local", "mini", "a cloud, and the request is local-only: the key is local-only"),
        ("auto may=qwen*", "mini", "the key k may not use it"),
        ("auto endpoint=completions", "mini", "clouds take conversations, not a bare prompt"),
        ("auto", "vectors", "it makes embeddings, and nothing else"),
        ("auto wants=seed,n", "opus", "it cannot do n and seed"),
        ("auto max=20000", "mini", "max_tokens is 20000, and its answers have at most 16000"),
        (
            "auto tokens=90000",
            "big",
            "about 90000 tokens of prompt do not fit its context of 65536",
        ),
        ("auto task=coding", "small", "its capability for coding is 40.0, and 50 is asked for"),
        ("auto task=coding small.unknown", "small", "is not known, and 50 is asked for"),
        ("auto spare=0.0001", "mini", "it may cost $0.0012, and $0.0001 may still be spent"),
        ("auto small.full=3", "small", "its queue is full: 64 requests wait"),
    ],
)
def test_reasons_have_figures(line: str, name: str, reason: str) -> None:
    row = parse(f"{line} |")
    found = explanation(row.needs, row.candidates, row.router, spare=row.spare)
    reasons = {c["name"]: c["reason"] for c in found["candidates"]}
    assert reason in reasons[WORLD[name].name]


def test_a_refusal_shows_its_candidates_too() -> None:
    row = parse("auto local tokens=200000 |")
    found = explanation(row.needs, row.candidates, row.router)
    assert found["decision"] is None
    assert found["error"]["code"] == "context_length_exceeded"
    assert len(found["candidates"]) == len(WORLD)
    assert not any(c["attempt"] or c["fit"] for c in found["candidates"])


def test_a_question_becomes_needs() -> None:
    question = read_question(
        {
            "request": BODY,
            "headers": {"X-Task-Type": "coding", "x-slo-ttft-ms": "250"},
            "prompt_tokens": 5000,
            "key": {
                "id": "k1",
                "team": "web",
                "local_only": True,
                "models": ["auto"],
                "limits": {"day": 5, "rpm": None},
            },
        }
    )
    assert question.terms == Terms(team="web", limits=Limits(day=5))
    needs = question.needs(ROUTER, NOW)
    assert (needs.task, needs.task_from, needs.slo_ttft) == ("coding", "header", 0.25)
    assert (needs.prompt_tokens, needs.max_tokens, needs.key) == (5000, 9, "k1")
    assert needs.local_only
    assert needs.models == ("auto",)
    assert read_question({"request": BODY}).needs(ROUTER, NOW).prompt_tokens < 30


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({}, "request"),
        ({"request": []}, "request"),
        ({"request": {}}, "messages"),
        ({"request": BODY, "header": {}}, "header"),
        ({"request": BODY, "headers": []}, "headers"),
        ({"request": BODY, "headers": {"a": 1}}, "headers"),
        *(
            ({"request": BODY, "prompt_tokens": n}, "prompt_tokens")
            for n in (0, -1, 1.5, True, 1e9)
        ),
        ({"request": BODY, "key": "k"}, "key"),
        ({"request": BODY, "key": {"id": 5}}, "key.id"),
        ({"request": BODY, "key": {"models": "auto"}}, "key.models"),
        ({"request": BODY, "key": {"limits": [5]}}, "key.limits"),
        ({"request": BODY, "key": {"limits": {"week": 5}}}, "key.limits"),
        ({"request": BODY, "key": {"limits": {"day": "5 USD"}}}, "key.limits"),
    ],
)
def test_a_malformed_question_is_told_where(values: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_question(values)
    assert caught.value.param == param


def test_tokens_that_are_told_are_what_everybody_counts() -> None:
    row = parse("auto |")
    question = read_question({"request": BODY, "prompt_tokens": 90_000})
    there = [replace(c, prompt_tokens=75_000, least_tokens=1) for c in row.candidates]
    found = explanation(question.needs(ROUTER, NOW), question.counted(there), row.router)
    reasons = {c["name"]: c["reason"] for c in found["candidates"]}
    assert "about 90000 tokens of prompt do not fit" in reasons[WORLD["big"].name]
    assert read_question({"request": BODY}).counted(there) == there


def test_no_cloud_is_asked_while_nothing_can_be_written_down() -> None:
    row = parse("auto |")
    there = read_question({"request": BODY}).counted(row.candidates, clouds=False)
    found = explanation(row.needs, there, row.router)
    assert {c["side"] for c in found["candidates"] if c["fit"]} == {"local"}
    assert "cannot be written down" in str(found["candidates"])


def test_limits_refuse_it_whoever_could_answer() -> None:
    row = parse("auto |")
    full = RateLimited("key k has had its share for now", retry_after=3)
    found = explanation(row.needs, row.candidates, row.router, limited=full)
    assert found["decision"] is None
    assert found["error"]["code"] == "rate_limit_exceeded"
    assert len(found["candidates"]) == len(WORLD)


@pytest.mark.parametrize("asked", ["acme/large", "frontier"])
def test_why_a_cloud_is_not_there_is_told_without_paths(asked: str) -> None:
    absent = {"acme/large": "acme has no key: ACME is not set; /etc/keys/acme.key is absent"}
    row = parse(f"{asked} |")
    found = explanation(row.needs, [], row.router, absent=absent)
    assert "acme has no key." in found["error"]["message"]
    assert "/etc" not in found["error"]["message"]
    assert "/etc/keys/acme.key" in found["absent"]["acme/large"], "explain's own reader is told"


def test_words_are_found_only_when_somebody_looks() -> None:
    from server.routing.policy import decide

    verdicts = decide(needs_for("auto"), tuple(WORLD.values()), ROUTER).verdicts
    assert len(verdicts) == len(WORLD)
    assert verdicts[0] is verdicts[0]
    assert [verdict.fit for verdict in verdicts[:2]] == [True, True]


def test_embeddings_can_be_asked_about_too() -> None:
    asked = read_question({"request": {"model": "embed", "input": ["one two", [1, 2, 3]]}})
    needs = asked.needs(ROUTER, NOW)
    assert (needs.endpoint, needs.max_tokens) == ("embeddings", 0)
    assert needs.longest is not None
    assert needs.longest < needs.prompt_tokens
    found = explanation(needs, tuple(WORLD.values()), ROUTER)
    assert found["request"]["endpoint"] == "embeddings"
    assert found["decision"]["attempts"] == ["openai/vectors"]
    reasons = {c["name"]: c["reason"] for c in found["candidates"]}
    assert reasons["openai/mini"] == "it makes no embeddings"
    given = asked.__class__(asked.request, {}, asked.caller, 7000).needs(ROUTER, NOW)
    assert (given.prompt_tokens, given.longest) == (7000, None)
    with pytest.raises(RequestError, match="input"):
        read_question({"request": {"model": "embed", "input": []}})
