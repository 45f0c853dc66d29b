"""Which requests a route is for, and which candidates a pattern stands for."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from server.catalogue.router import Match, Router
from server.routing.match import choice_of, draw_of, matches, rank
from tests.routing.cases import ROUTER, ROUTES, needs_for

TEN, SIX = datetime.time(22), datetime.time(6)


@pytest.mark.parametrize(
    ("when", "needs", "meets"),
    [
        (Match(), {}, True),
        (Match(models=("auto",)), {}, True),
        (Match(models=("au*",)), {}, True),
        (Match(models=("frontier", "best")), {}, False),
        (Match(tasks=("coding",)), {"task": "coding"}, True),
        (Match(tasks=("coding",)), {}, False),
        (Match(keys=("k",)), {}, True),
        (Match(keys=("hr*",)), {"key": "hr-2"}, True),
        (Match(keys=("hr",)), {}, False),
        (Match(teams=("web",)), {"team": "web"}, True),
        (Match(teams=("web",)), {}, False),
        (Match(headers={"x-a": "1"}), {"headers": {"x-a": "1"}}, True),
        (Match(headers={"x-a": "*"}), {"headers": {"x-a": "anything"}}, True),
        (Match(headers={"x-a": "1"}), {"headers": {"x-a": "2"}}, False),
        (Match(headers={"x-a": "*"}), {}, False),
        (Match(min_tokens=1000), {}, True),
        (Match(min_tokens=1001), {}, False),
        (Match(max_tokens=1000), {}, True),
        (Match(max_tokens=999), {}, False),
        (Match(images=True), {"images": 1}, True),
        (Match(images=True), {}, False),
        (Match(images=False), {}, True),
        (Match(images=False), {"images": 1}, False),
        (Match(documents=True), {"pages": 1}, True),
        (Match(documents=True), {"images": 1}, False),
        (Match(documents=False), {}, True),
        (Match(documents=False), {"pages": 9}, False),
        (Match(hours=(SIX, TEN)), {"time": datetime.time(12)}, True),
        (Match(hours=(SIX, TEN)), {"time": datetime.time(22)}, False),
        (Match(hours=(TEN, SIX)), {"time": datetime.time(23, 59)}, True),
        (Match(hours=(TEN, SIX)), {"time": datetime.time(0)}, True),
        (Match(hours=(TEN, SIX)), {"time": datetime.time(6)}, False),
        (Match(tasks=("chat",), teams=("web",)), {"team": "ops"}, False),
    ],
)
def test_a_route_is_for_what_meets_all_of_it(
    when: Match, needs: dict[str, Any], meets: bool
) -> None:
    assert matches(when, needs_for("auto", **needs)) is meets


@pytest.mark.parametrize(
    ("patterns", "place"),
    [
        (("*",), 0),
        (("local",), -1),
        (("cloud",), 0),
        (("acme/*",), 0),
        (("acm*",), 0),
        (("other/*", "acme/large"), 1),
        (("acme/larg",), -1),
        (("large",), -1),
        ((), -1),
    ],
)
def test_what_stands_for_a_cloud(patterns: tuple[str, ...], place: int) -> None:
    assert rank(patterns, "acme/large", "cloud") == place


@pytest.mark.parametrize(
    ("patterns", "place"),
    [
        (("local",), 0),
        (("cloud", "qwen3.5-9b"), 1),
        (("qwen3.5-9b:q4_k_m",), 0),
        (("qwen3.5-9b:q8_0",), -1),
        (("qwen3.5-9",), -1),
        (("qwen*",), 0),
    ],
)
def test_what_stands_for_a_build(patterns: tuple[str, ...], place: int) -> None:
    assert rank(patterns, "qwen3.5-9b:q4_k_m", "local") == place


@pytest.mark.parametrize(
    ("needs", "router", "because"),
    [
        ({}, ROUTER, ""),
        ({"local_only": True, "private_because": "a header"}, ROUTER, "a header"),
        ({"local_only": True}, ROUTER, ""),
        ({}, Router(cloud=False), "no cloud is to be used"),
        ({}, Router(policy="local-only"), "the policy is local-only"),
        ({"key": "hr"}, Router(routes=(ROUTES["secret"],)), "the route secret is local-only"),
    ],
)
def test_what_makes_it_local_only(needs: dict[str, Any], router: Router, because: str) -> None:
    choice = choice_of(needs_for("m", **needs), router)
    assert choice.local_only == bool(because or needs.get("local_only"))
    assert choice.because == because


def test_draws_are_even_and_stay_what_they_are() -> None:
    found = [draw_of(f"session {number}") for number in range(2000)]
    assert all(0 <= one < 1 for one in found)
    assert draw_of("session 7") == found[7]
    for part in (0.1, 0.5, 0.9):
        assert abs(sum(one < part for one in found) / 2000 - part) < 0.04
    assert 0 <= draw_of("\ud800") < 1
