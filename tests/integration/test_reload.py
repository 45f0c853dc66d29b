"""The configuration read again while Holdfast serves: all of it, or nothing."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server import demo
from tests.integration.running import Holdfast, holdfast, run
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

SECOND = f"""
[[build]]
model = "demo"
id = "second"
engine = "llama-server"
format = "gguf"
quant = "f16"
path = "{demo.GGUF}"
"""
ONE = '[serve]\nmodels = ["demo:f16"]\n'
TWO = '[serve]\nmodels = ["demo:f16", "demo:second"]\n'
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "What is Holdfast?"}]}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(SECOND + ONE)
    return path


@pytest.fixture
def served(tmp_path: Path, config: Path) -> Iterator[Holdfast]:
    with holdfast(tmp_path / "home", "--config", str(config)) as running:
        running.wait_ready()
        yield running


def reload(served: Holdfast, *flags: str) -> str:
    done = run("reload", *flags, home=served.home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(served: Holdfast) -> set[str]:
    return {engine["name"] for engine in served.ps()}


def test_what_is_served_follows_the_file_and_no_request_is_dropped(
    served: Holdfast, config: Path
) -> None:
    statuses: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx2.Client(timeout=60) as client:
            while not ended.is_set():
                body = {"model": "demo:f16", "max_tokens": 24, **ASK}
                statuses.append(
                    client.post(f"{served.url}/chat/completions", json=body).status_code
                )

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    pid = served.engine()["pid"]
    config.write_text(SECOND + TWO)
    told = reload(served)
    assert "serve.models changed: what is served is planned anew" in told
    wait_for(lambda: names(served) == {"demo:f16", "demo:second"}, 20)
    answer = served.client(timeout=60).chat.completions.create(model="demo:second", **ASK)
    assert answer.choices[0].message.content
    config.write_text(ONE)
    reload(served)
    wait_for(lambda: names(served) == {"demo:f16"}, 20)
    ended.set()
    for thread in threads:
        thread.join(60)
    assert set(statuses) == {200}
    assert served.engine()["pid"] == pid, "what stays as it was goes on"


def test_with_a_mistake_nothing_changes_and_the_mistake_is_told(
    served: Holdfast, config: Path
) -> None:
    config.write_text(SECOND + ONE + "qeue = 3\n")
    done = run("reload", home=served.home)
    assert done.returncode != 0
    assert "qeue" in done.stderr
    assert str(config) in done.stderr
    assert served.client().chat.completions.create(model="demo", **ASK).choices
    config.write_text(SECOND + '[serve]\nmodels = ["nobody"]\n')
    assert run("reload", home=served.home).returncode != 0
    assert names(served) == {"demo:f16"}


def test_sighup_does_the_same(served: Holdfast, config: Path) -> None:
    config.write_text(SECOND + ONE + 'max_body = "1KiB"\n')
    served.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "read again; changes: 1" in served.log.read_text(), 20)
    body = {"model": "demo", **ASK, "user": "x" * 1024}
    assert httpx2.post(f"{served.url}/chat/completions", json=body, timeout=60).status_code == 413
    config.write_text("no toml")
    served.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the configuration stays as it was" in served.log.read_text(), 20)
    assert httpx2.post(f"{served.url}/chat/completions", json=body, timeout=60).status_code == 413


def test_a_key_that_was_found_or_is_gone_is_said(
    served: Holdfast, config: Path, tmp_path: Path
) -> None:
    key = tmp_path / "acme.key"
    provider = f'''
[[provider]]
id = "acme"
kind = "openai"
url = "http://127.0.0.1:9/v1"
key = {{ file = "{key}" }}
'''
    config.write_text(SECOND + ONE + provider)
    assert "provider[acme] added" in reload(served)
    key.write_text("sk-acme\n")
    key.chmod(0o600)
    assert reload(served).splitlines() == [
        "provider[acme].key added: requests that come from now on go by it"
    ]
    assert reload(served) == "Nothing has changed.\n"
    key.unlink()
    assert "provider[acme].key removed" in reload(served)


def test_what_needs_a_restart_is_said(served: Holdfast, config: Path) -> None:
    config.write_text(SECOND + ONE + 'host = "127.0.0.2"\n')
    (change,) = json.loads(reload(served, "--json"))["changes"]
    assert (change["key"], change["applies"]) == ("serve.host", "restart")
    assert reload(served) == "Nothing has changed.\n"
