from __future__ import annotations

import dataclasses

import pytest

from server.providers.effort import ORDER, asked_budget, asked_effort, nearest_effort
from tests.providers.clouds import ask, model


@pytest.mark.parametrize(
    ("asked", "known", "chosen"),
    [
        ("medium", ("low", "medium", "high"), "medium"),
        ("minimal", ("low", "medium"), "low"),
        ("medium", ("low", "high"), "high"),
        ("max", ("none", "low", "high"), "high"),
        ("none", ("low", "high"), "low"),
        ("none", ("none", "low"), "none"),
        ("low", ("high", "minimal"), "high"),
    ],
)
def test_a_degree_that_is_lacking_is_the_next_higher(
    asked: str, known: tuple[str, ...], chosen: str
) -> None:
    assert nearest_effort(asked, known) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize("effort", ORDER)
def test_what_the_client_says_is_asked_for(effort: str) -> None:
    assert asked_effort(ask(reasoning_effort=effort)) == effort


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"enable_thinking": True}, None),
        ({"enable_thinking": False}, "none"),
        ({"reasoning": {"enabled": False}}, "none"),
        ({"reasoning": {"effort": "xhigh"}}, "xhigh"),
    ],
)
def test_yes_and_no(fields: dict[str, object], effort: str | None) -> None:
    assert asked_effort(ask(**fields)) == effort


@pytest.mark.parametrize(
    ("tokens", "effort"),
    [(1024, "minimal"), (1025, "low"), (4096, "low"), (10_000, "medium"), (31_999, "high"),
     (32_769, "xhigh"), (128_000, "xhigh")],
)  # fmt: skip
def test_a_budget_is_a_degree_where_only_degrees_are_known(tokens: int, effort: str) -> None:
    request = dataclasses.replace(ask(), thinking=True, thinking_budget=tokens)
    assert asked_effort(request) == effort


@pytest.mark.parametrize(
    ("fields", "budget", "tokens"),
    [
        ({"reasoning_effort": "low"}, None, 2000),
        ({"reasoning_effort": "high"}, None, 8000),
        ({"reasoning_effort": "max"}, None, 8192),
        ({"enable_thinking": True}, None, 5000),
        ({"reasoning_effort": "minimal"}, None, 1024),
        ({"enable_thinking": True}, 3000, 3000),
        ({"enable_thinking": True}, 100, 1024),
        ({"enable_thinking": True}, 100_000, 8192),
    ],
)
def test_a_degree_is_a_part_of_the_answer_where_only_tokens_are_known(
    fields: dict[str, object], budget: int | None, tokens: int
) -> None:
    request = dataclasses.replace(ask(**fields), thinking_budget=budget)
    assert asked_budget(request, model(thinking_budget=(1024, 8192)), 10_000) == tokens
