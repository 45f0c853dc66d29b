"""What an option is worth to a wish."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.planning.demand import Wish
from server.planning.deployment import Deployment
from server.planning.footprint.component import Footprint
from server.planning.plan import Option
from server.planning.speed import Speed
from server.planning.worth import lead, serves

WISH = Wish(
    "qwen3.5-9b", None, 1.0, 8192, 2, 8.0, pin=False, ttl=None, engines=("llama-server", "vllm")
)
OPTION = Option(
    Deployment("qwen3.5-9b", "qwen3.5-9b:q4_k_m", "llama-server", (), 16384, 4),
    Footprint(()),
    Speed(100.0, 10.0, 20.0, "bandwidth"),
    weights_bytes=1,
    load_seconds=1.0,
    held=True,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"model": "qwen3.5-4b"}, False),
        ({"build": "q4_k_m"}, True),
        ({"build": "q8_0"}, False),
        ({"engines": ("vllm",)}, False),
        ({"context": 16384}, True),
        ({"context": 16385}, False),
        ({"context_limit": 16384}, True),
        ({"context_limit": 8192}, False),
        ({"slots": 5}, False),
        ({"slots_limit": 4}, True),
        ({"slots_limit": 2}, False),
        ({"speed": 10.0}, True),
        ({"speed": 10.1}, False),
    ],
)
def test_serves(changes: dict[str, Any], expected: bool) -> None:
    assert serves(OPTION, replace(WISH, **changes)) is expected


def test_who_reads_prompts_for_minutes_leads_only_where_nobody_else_could() -> None:
    large = replace(OPTION, capability=84.0, token_seconds=0.5)
    brisk, small = replace(large, token_seconds=0.1), replace(OPTION, capability=80.0)
    small = replace(small, token_seconds=0.1)
    assert lead(brisk, WISH) > lead(small, WISH) > lead(large, WISH)
    assert lead(large, WISH) > lead(replace(small, capability=70.0), WISH)
