"""Traces at a collector that is played, of a real engine and of a cloud that is played."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server import demo, settings
from server.catalogue.router import Limits
from server.ledger.keys import KeyBook, Terms
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.clouds import KEYS, Clouds, write_config
from tests.integration.running import COMMAND, Holdfast, environment, holdfast
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

WHAT = demo.question("what-is-holdfast")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TOKEN = "collector-canary-1"
CANARY = "prompt-canary-1"
CHAT = "/chat/completions"
HERE = """
[[route]]
id = "here"
when = { headers = { "x-here" = "*" } }
local_only = true
"""
POLICY = """
[router]
policy = "local-only"

[[route]]
id = "open"
when = { headers = { "x-open" = "*" } }
policy = "cheapest"
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[FakeCloud]:
    with running_cloud("otlp_collector") as found:
        yield found


@contextlib.contextmanager
def traced(
    folder: Path,
    played: Clouds,
    collector: FakeCloud,
    *flags: str,
    rules: str = "",
    **more: str,
) -> Iterator[Holdfast]:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    config = str(write_config(folder, played, rules))
    arguments = ("--demo", "--config", config, *flags)
    with holdfast(folder / "home", *arguments, extra=KEYS | variables | more) as running:
        running.wait_ready(60)
        yield running


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, played: Clouds, collector: FakeCloud
) -> Iterator[Holdfast]:
    with traced(tmp_path_factory.mktemp("traced"), played, collector) as running:
        yield running


def ask(node: Holdfast, body: Mapping[str, Any], **headers: str) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(node.url + CHAT, json=body, headers=names, timeout=60)


def spans(collector: FakeCloud, request_id: str) -> list[dict[str, Any]]:
    """Those of one request, once they have come: itself first."""

    def found() -> list[dict[str, Any]]:
        every = [span for export in collector.requests() for span in export["spans"]]
        root = [s for s in every if s["attributes"].get("holdfast.request_id") == request_id]
        return root + [s for s in every for r in root if s["parent"] == r["id"]]

    wait_for(found, 60)
    return found()


def test_a_streamed_answer_of_a_cloud(node: Holdfast, collector: FakeCloud, played: Clouds) -> None:
    played.openai.requests(clear=True)
    messages = [{"role": "user", "content": f"{CANARY} #fake"}]
    body = {"model": "openai/gpt-5", "messages": messages, "stream": True, "max_tokens": 50}
    answer = ask(node, body, traceparent=PARENT, tracestate="vendor=1", x_request_id="t1")
    assert answer.status_code == 200
    root, decide, attempt = spans(collector, "t1")
    assert (root["trace"], root["parent"]) == tuple(PARENT.split("-")[1:3])
    assert {decide["trace"], attempt["trace"]} == {root["trace"]}
    assert (root["kind"], root["name"]) == ("server", "POST /v1/chat/completions")
    assert (attempt["kind"], attempt["name"]) == ("client", "chat gpt-5")
    assert root["resource"]["service.name"] == "holdfast"
    assert attempt["attributes"]["gen_ai.provider.name"] == "openai"
    assert root["attributes"]["gen_ai.usage.output_tokens"] > 0
    assert root["attributes"]["holdfast.cost_usd"] > 0
    (event,) = attempt["events"]
    order = [
        root["began"], decide["began"], decide["ended"], attempt["began"], event["time"],
        attempt["ended"], root["ended"],
    ]  # fmt: skip
    assert order == sorted(order)
    (sent,) = played.openai.requests()
    assert not [name for name in sent["headers"] if name.startswith("trace")]
    exports = collector.requests()
    assert all(one["headers"]["authorization"] == f"Bearer {TOKEN}" for one in exports)
    assert CANARY not in str(exports)


def test_an_answer_of_an_engine(node: Holdfast, collector: FakeCloud) -> None:
    body = {"model": "demo", "messages": list(WHAT.messages)}
    answer = ask(node, body, x_request_id="t2", traceparent="of another kind")
    assert answer.status_code == 200
    root, _, attempt = spans(collector, "t2")
    assert root["parent"] == ""
    assert root["attributes"]["gen_ai.provider.name"] == "holdfast"
    usage = answer.json()["usage"]
    assert attempt["attributes"]["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert WHAT.content not in str(collector.requests())


def test_every_attempt_and_what_became_of_it(
    node: Holdfast, collector: FakeCloud, played: Clouds
) -> None:
    played.openai.faults("500 times=9")
    body = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "x"}]}
    try:
        answer = ask(node, body, x_request_id="t3")
    finally:
        played.openai.mend()
    assert answer.status_code == 502
    root, _, *attempts = spans(collector, "t3")
    assert len(attempts) >= 1
    assert {one["status"] for one in (root, *attempts)} == {"error"}
    assert root["attributes"]["http.response.status_code"] == 502
    assert root["attributes"]["holdfast.attempts"] == len(attempts)


def test_what_the_client_decided_not_to_sample_is_not_told(
    node: Holdfast, collector: FakeCloud
) -> None:
    body = {"model": "demo", "messages": list(WHAT.messages)}
    assert ask(node, body, x_request_id="no", traceparent=PARENT[:-1] + "0").status_code == 200
    assert ask(node, body, x_request_id="yes").status_code == 200
    assert spans(collector, "yes")
    assert "'no'" not in str(collector.requests())


def test_nothing_is_said_of_a_local_only_request(node: Holdfast, collector: FakeCloud) -> None:
    body = {"model": "demo", "messages": list(WHAT.messages)}
    private = ask(node, body, x_request_id="private", x_holdfast_local_only="true")
    assert private.status_code == 200
    assert ask(node, {}, x_request_id="torn", x_holdfast_local_only="perhaps").status_code == 400
    assert ask(node, body, x_request_id="public").status_code == 200
    assert spans(collector, "public")
    told = str(collector.requests())
    assert "'private'" not in told
    assert "'torn'" not in told


def test_nor_of_one_that_a_route_keeps_here_and_a_limit_refuses(
    tmp_path: Path, played: Clouds, collector: FakeCloud
) -> None:
    with traced(tmp_path, played, collector, rules=HERE) as running:
        book = KeyBook(settings.load(environment(running.home)).keys_file)
        _, key = book.create("hasty", Terms(limits=Limits(rpm=1)))
        body = {"model": "demo", "messages": list(WHAT.messages)}
        names = {"authorization": f"Bearer {key}"}
        assert ask(running, body, x_request_id="routed", x_here="1", **names).status_code == 200
        assert ask(running, body, x_request_id="hasty", x_here="1", **names).status_code == 429
        assert ask(running, body, x_request_id="refused", **names).status_code == 429
        assert spans(collector, "refused")
    told = str(collector.requests())
    assert "'routed'" not in told
    assert "'hasty'" not in told


def test_nor_where_the_policy_keeps_all_here_of_one_that_cannot_be_read(
    tmp_path: Path, played: Clouds, collector: FakeCloud
) -> None:
    with traced(tmp_path, played, collector, rules=POLICY) as running:
        body = {"model": "demo", "messages": list(WHAT.messages)}
        assert ask(running, {}, x_request_id="unreadable").status_code == 400
        assert ask(running, body, x_request_id="opened", x_open="1").status_code == 200
        assert spans(collector, "opened"), "a route may say otherwise"
    assert "'unreadable'" not in str(collector.requests())


def test_a_collector_that_fails_hurts_no_request(node: Holdfast, collector: FakeCloud) -> None:
    collector.faults("503", "503", "503")
    body = {"model": "demo", "messages": list(WHAT.messages)}
    for number in range(20):
        assert ask(node, body, x_request_id=f"f{number}").status_code == 200
    collector.wait(lambda exports: any(one["status"] == 503 for one in exports))
    assert "the traces cannot be delivered" in node.log.read_text()


def test_with_clouds_switched_off_there_are_no_traces(
    tmp_path: Path, played: Clouds, collector: FakeCloud
) -> None:
    before = len(collector.requests())
    with traced(tmp_path, played, collector, "--no-cloud") as running:
        body = {"model": "demo", "messages": list(WHAT.messages)}
        assert ask(running, body, x_request_id="off").status_code == 200
    assert "'off'" not in str(collector.requests()[before:])


def test_where_opentelemetry_is_absent_that_is_said(tmp_path: Path) -> None:
    """Its import is made to fail as it does where the extra is not installed."""
    blocked = tmp_path / "opentelemetry"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ModuleNotFoundError('opentelemetry')\n")
    variables = {"OTEL_TRACES_EXPORTER": "otlp", "PYTHONPATH": os.fspath(tmp_path)}
    done = subprocess.run(
        [COMMAND, "serve", "--demo", "--port", "0"],
        env=environment(tmp_path / "home") | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "OpenTelemetry is not installed" in done.stderr
    assert "scripts/setup --otel" in done.stderr
    assert "Traceback" not in done.stderr
