"""What API keys may do, and `holdfast route explain` against what really happens to a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from server import settings
from server.catalogue.router import Limits
from server.cli.app import app
from server.ledger.keys import KeyBook, Terms
from server.units import USD
from tests.integration.clouds import clouds, gateway
from tests.integration.running import Holdfast, environment

pytestmark = pytest.mark.integration

KEYS = {
    "free": Terms(),
    "poor": Terms(limits=Limits(day=USD // 10_000)),
    "terse": Terms(limits=Limits(tokens_day=100)),
    "hasty": Terms(limits=Limits(rpm=1)),
    "private": Terms(local_only=True),
    "narrow": Terms(models=("demo",)),
    "prometheus": Terms(role="admin"),
}

KEYLESS = """
[[provider]]
id = "nokey"
kind = "openai"
url = "http://127.0.0.1:9/v1"
key = { env = "ACME_KEY" }

[[cloud]]
id = "nokey/large"
title = "Without a key"
context = 1000
max_output = 100
price = { input = "1 USD/1M", output = "1 USD/1M" }
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holdfast]:
    with clouds() as played, gateway(tmp_path_factory.mktemp("keys"), played, KEYLESS) as running:
        yield running


@pytest.fixture(scope="module")
def keys(node: Holdfast) -> dict[str, str]:
    book = KeyBook(settings.load(environment(node.home)).keys_file)
    return {name: book.create(name, terms)[1] for name, terms in KEYS.items()}


def explained(node: Holdfast, *words: str) -> Any:
    verb = ["route", "explain", "--json", "--home", str(node.home), *words, "Hello"]
    return json.loads(CliRunner().invoke(app, verb).stdout)


def asked(node: Holdfast, model: str, key: str | None = None) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx2.post(f"{node.url}/chat/completions", json=body, headers=headers, timeout=60)


def test_where_a_key_was_looked_for_is_not_told(node: Holdfast, keys: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {keys['free']}"}
    answer = httpx2.get(f"{node.url}/models/nokey/large", headers=headers, timeout=60)
    assert answer.status_code == 404
    assert "nokey has no key." in answer.json()["error"]["message"]
    assert "ACME" not in answer.text
    found = asked(node, "nokey/large", keys["free"])
    assert found.status_code == 404
    assert "nokey has no key." in found.json()["error"]["message"]


def test_a_key_sees_what_it_may_ask_for(node: Holdfast, keys: dict[str, str]) -> None:
    def listed(name: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {keys[name]}"}
        answer = httpx2.get(f"{node.url}/models", headers=headers, timeout=60)
        return {model["id"]: model for model in answer.json()["data"]}

    everything = listed("free")
    assert {"demo", "auto", "frontier", "openai/gpt-5"} <= set(everything)
    auto = everything["auto"]
    assert {"chat", "completions"} <= set(auto["capabilities"])
    assert auto["context_length"] == max(one["context_length"] for one in everything.values())
    assert "image" in auto["input_modalities"]
    assert "tools" in everything["demo"]["features"]
    assert {one["owned_by"] for one in listed("private").values()} == {"holdfast"}
    assert {"demo", "auto"} <= set(listed("private"))
    assert listed("private")["auto"]["input_modalities"] == ["text"]
    assert "frontier" not in listed("private")
    assert set(listed("narrow")) == {"demo"}


@pytest.mark.parametrize(
    ("name", "model", "code"),
    [
        ("free", "demo", None),
        ("free", "openai/gpt-5", None),
        ("free", "nothing", "model_not_found"),
        ("poor", "openai/gpt-5", "insufficient_quota"),
        ("poor", "demo", None),
        ("terse", "demo", "insufficient_quota"),
        ("terse", "openai/gpt-5", "insufficient_quota"),
        ("private", "openai/gpt-5", "no_route"),
        ("narrow", "openai/gpt-5", "model_not_found"),
    ],
)
def test_it_says_what_happens(
    node: Holdfast, keys: dict[str, str], name: str, model: str, code: str | None
) -> None:
    found = explained(node, "--key", name, "--model", model)
    answer = asked(node, model, keys[name])
    if code is None:
        assert answer.status_code == 200
        assert answer.headers["x-holdfast-model"] == found["decision"]["attempts"][0]
        assert answer.headers["x-holdfast-reason"] == found["decision"]["reason"]
    else:
        assert (found["error"]["code"], answer.json()["error"]["code"]) == (code, code)


def test_it_counts_as_no_request(node: Holdfast, keys: dict[str, str]) -> None:
    for _ in range(2):
        assert explained(node, "--key", "hasty", "--model", "demo")["error"] is None
    assert asked(node, "demo", keys["hasty"]).status_code == 200
    found = explained(node, "--key", "hasty", "--model", "demo")
    assert found["error"]["code"] == "rate_limit_exceeded"
    assert asked(node, "demo", keys["hasty"]).status_code == 429


def test_it_knows_what_a_cloud_cannot_be_told(node: Holdfast, keys: dict[str, str]) -> None:
    schema = {"name": "list", "strict": True, "schema": {"type": "array"}}
    body = {
        "model": "openai/gpt-5",
        "messages": [{"role": "user", "content": "Hello"}],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    headers = {"Authorization": f"Bearer {keys['free']}"}
    answer = httpx2.post(f"{node.url}/chat/completions", json=body, headers=headers, timeout=60)
    verb = ["route", "explain", "--json", "--home", str(node.home), "--request", "-"]
    found = json.loads(CliRunner().invoke(app, verb, input=json.dumps(body)).stdout)
    assert answer.status_code == 400
    assert found["error"] == answer.json()["error"]
    assert "must be of type 'object'" in found["error"]["message"]


def test_what_all_spend_is_for_admins(node: Holdfast, keys: dict[str, str]) -> None:
    def metrics(name: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {keys[name]}"}
        return httpx2.get(f"{node.root}/metrics", headers=headers, timeout=60)

    assert "ai_cost_total" in metrics("prometheus").text
    refused = metrics("free")
    assert refused.status_code == 403
    assert "--role admin" in refused.json()["error"]["message"]
    assert httpx2.get(f"{node.root}/metrics", timeout=60).status_code == 401


def test_no_cloud_is_promised_while_nothing_can_be_written_down(tmp_path: Path) -> None:
    ledger = settings.load(environment(tmp_path / "home")).ledger
    ledger.parent.mkdir(parents=True)
    ledger.write_bytes(b"no ledger" * 1000)
    with clouds() as played, gateway(tmp_path, played) as node:
        assert asked(node, "openai/gpt-5").status_code == 503
        (refused,) = [
            one
            for one in explained(node, "--model", "openai/gpt-5")["candidates"]
            if one["name"] == "openai/gpt-5"
        ]
        assert not refused["fit"]
        assert "cannot be written down" in refused["reason"]
        assert asked(node, "demo").status_code == 200
