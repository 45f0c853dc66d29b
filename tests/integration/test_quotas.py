"""What clouds say is left of our share, in good answers: they are left alone before they refuse.
And one that is broken, which is left alone after."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.integration.clouds import MODELS, Clouds, clouds, gateway
from tests.integration.running import Holdfast, run

pytestmark = pytest.mark.integration

OPENAI, ANTHROPIC, GEMINI = MODELS
ALIAS = f"""
[router]
breaker_pause = "1h"

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


def test_who_is_broken_is_left_alone_and_operators_are_told(node: Holdfast, played: Clouds) -> None:
    played.gemini.faults("500 times=9")
    answers = [ask(node, GEMINI) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {502, 503}
    assert answers[-1].status_code == 503, "we ask no more than we may"
    assert answers[-1].json()["error"]["code"] == "provider_busy"
    assert len(played.gemini.requests()) == 5
    told = run("ps", home=node.home).stdout
    assert f"{GEMINI}: it failed 5 times in a row, and is left alone for another" in told
    log = node.log.read_text()
    assert log.count(f"{GEMINI} failed: ") == 4
    assert log.count(f"{GEMINI} failed 5 times in a row, and is left alone for 1h 00m: ") == 1
