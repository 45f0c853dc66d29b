"""What clouds say is left of our share, in good answers: they are left alone before they refuse."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.integration.clouds import Clouds, clouds, gateway
from tests.integration.running import Holdfast, run

pytestmark = pytest.mark.integration

OPENAI, ANTHROPIC = "openai/gpt-5", "anthropic/claude-sonnet-4-5"
ALIAS = f"""
[[alias]]
name = "either"
candidates = ["{OPENAI}", "{ANTHROPIC}"]
"""


@pytest.fixture
def played() -> Iterator[Clouds]:
    with clouds() as found:
        yield found


@pytest.fixture
def node(tmp_path: Path, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path, played, ALIAS) as running:
        yield running


def ask(node: Holdfast, model: str) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return httpx2.post(node.url + "/chat/completions", json=body, timeout=60)


def explained(node: Holdfast, model: str) -> dict[str, str]:
    done = run("route", "explain", "--json", "--model", model, "Hello", home=node.home)
    return {one["name"]: one["reason"] for one in json.loads(done.stdout)["candidates"]}


def in_an_hour() -> str:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_who_is_out_of_requests_is_not_asked(node: Holdfast, played: Clouds) -> None:
    played.openai.headers(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="59m0s")
    assert ask(node, "either").headers["x-holdfast-model"] == OPENAI  # the cheaper one
    assert ask(node, "either").headers["x-holdfast-model"] == ANTHROPIC
    assert "too few requests left" in explained(node, "either")[OPENAI]
    refused = ask(node, OPENAI)
    assert refused.status_code == 429
    assert "too few requests left" in refused.json()["error"]["message"]
    assert 3400 < int(refused.headers["retry-after"]) <= 3540
    assert len(played.openai.requests()) == 1


def test_who_is_out_of_tokens_is_not_asked(node: Holdfast, played: Clouds) -> None:
    played.anthropic.headers(
        anthropic_ratelimit_input_tokens_remaining="1",
        anthropic_ratelimit_input_tokens_reset=in_an_hour(),
        date=datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
    )
    assert ask(node, ANTHROPIC).status_code == 200
    assert ask(node, ANTHROPIC).status_code == 429
    assert "too few tokens of prompts" in explained(node, ANTHROPIC)[ANTHROPIC]
    assert len(played.anthropic.requests()) == 1


def test_who_has_enough_left_is_asked_again(node: Holdfast, played: Clouds) -> None:
    played.openai.headers(x_ratelimit_remaining_requests="5", x_ratelimit_reset_requests="59m0s")
    assert [ask(node, OPENAI).status_code for _ in range(3)] == [200] * 3
