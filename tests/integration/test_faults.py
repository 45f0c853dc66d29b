"""What clients, operators and processes do when things go wrong, with the real ones."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil
import pytest

from server import demo as embedded
from server import settings
from server.engines.binary import find_llama_server
from tests.integration.running import COMMAND, Holdfast, environment, holdfast, run
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

_TOKENIZER = json.loads((embedded.SAFETENSORS / "tokenizer.json").read_text())
_ENDS = [
    token["id"]
    for token in _TOKENIZER["added_tokens"]
    if token["content"] in ("<|im_end|>", "<|endoftext|>")
]
# An answer that never ends by itself: what ends it is what a test is about.
LONG: dict[str, Any] = {
    "model": "demo",
    "messages": list(embedded.question("long-story").messages),
    "stream": True,
    "max_tokens": 3900,
    "logit_bias": {str(token): -100 for token in _ENDS},
}


def events(response: httpx2.Response) -> Iterator[Any]:
    """The data of each server-sent event: parsed, or the string `[DONE]`."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def test_an_engine_killed_in_mid_stream_is_told_and_the_next_request_works(
    fresh: Holdfast,
) -> None:
    first = fresh.engine()["pid"]
    with httpx2.stream("POST", f"{fresh.url}/chat/completions", json=LONG, timeout=30) as response:
        received = events(response)
        assert next(received)["choices"]
        os.kill(first, signal.SIGKILL)
        rest = list(received)
    assert rest[-1]["error"]["code"] == "engine_error"
    assert "[DONE]" not in rest
    answer = fresh.client().chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "What is Holdfast?"}]
    )
    assert answer.choices[0].message.content
    after = fresh.engine()
    assert after["pid"] != first
    assert after["restarts"] == 1


def test_no_engine_outlives_a_holdfast_that_is_killed(fresh: Holdfast) -> None:
    children = fresh.descendants()
    assert fresh.engine()["pid"] in [child.pid for child in children]
    fresh.process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_it_starts_again_on_the_same_home_after_being_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with holdfast(home, "--demo") as first:
        first.wait_ready()
        first.process.kill()
        first.process.wait()
    with holdfast(home, "--demo") as second:
        second.wait_ready()


def test_a_client_that_leaves_a_stream_frees_its_slot(fresh: Holdfast) -> None:
    with httpx2.stream("POST", f"{fresh.url}/chat/completions", json=LONG, timeout=30) as response:
        next(events(response))
    check_it_was_given_up(fresh)


def test_a_client_that_leaves_a_whole_answer_frees_its_slot(fresh: Holdfast) -> None:
    connection = fresh.begin(LONG | {"stream": False})
    wait_for(lambda: fresh.engine()["running"] == 1, 60)
    connection.close()
    check_it_was_given_up(fresh)


def check_it_was_given_up(running: Holdfast) -> None:
    """The slot is free, and not because the answer came to its end."""
    engine = running.engine()
    transport = httpx2.HTTPTransport(uds=engine["socket"])
    with httpx2.Client(transport=transport, base_url="http://engine", timeout=60) as client:

        def at_work() -> int:
            return sum(slot["is_processing"] for slot in client.get("/slots").json())

        wait_for(lambda: at_work() == 0, 60)
        told = client.get("/metrics").text
    written = re.search(r"^llamacpp:tokens_predicted_total (\d+)", told, re.MULTILINE)
    assert written
    assert int(written[1]) < LONG["max_tokens"]
    wait_for(lambda: running.engine()["running"] == 0, 60)


def test_sigterm_lets_running_requests_finish(fresh: Holdfast) -> None:
    body = LONG | {"max_tokens": 60}
    with httpx2.stream("POST", f"{fresh.url}/chat/completions", json=body, timeout=30) as response:
        received = events(response)
        next(received)
        fresh.process.terminate()
        rest = list(received)
    assert rest[-1] == "[DONE]"
    assert fresh.process.wait(60) == 0


def test_what_outlasts_the_drain_gets_an_error_and_no_done(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.toml"
    overlay.write_text('[serve]\ndrain_timeout = "0.1s"\n')
    with holdfast(tmp_path / "home", "--demo", "--config", str(overlay)) as running:
        running.wait_ready()
        with httpx2.stream(
            "POST", f"{running.url}/chat/completions", json=LONG, timeout=30
        ) as response:
            received = events(response)
            next(received)
            running.process.terminate()
            rest = list(received)
        assert rest[-1]["error"]["message"].startswith("Holdfast is shutting down")
        assert running.process.wait(60) == 0
        with contextlib.closing(sqlite3.connect(running.home / "ledger" / "book.db")) as ledger:
            told = ledger.execute("SELECT outcome, completion_tokens > 0 FROM entry").fetchall()
        assert told == [("failed", 1)], "the client has not left"


def test_requests_beyond_slots_and_queue_get_429_with_retry_after(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.toml"
    overlay.write_text("[serve]\nslots = 1\nqueue = 1\n")
    with holdfast(tmp_path / "home", "--demo", "--config", str(overlay)) as running:
        running.wait_ready()
        url = f"{running.url}/chat/completions"
        with httpx2.stream("POST", url, json=LONG, timeout=30) as first:
            received = events(first)  # held: a stream that nobody reads any more is closed
            next(received)
            engine = psutil.Process(running.engine()["pid"])
            engine.suspend()  # so that the first is not answered before the others have asked
            lines: list[str] = []
            waiter = threading.Thread(target=_collect, args=(url, lines))
            waiter.start()
            wait_for(lambda: running.engine()["waiting"] == 1, 60)
            refused = httpx2.post(url, json=LONG | {"stream": False}, timeout=60)
            wait_for(lambda: any(line.startswith(":") for line in lines), 60)
            engine.resume()
        waiter.join(60)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert "waiting for a slot" in next(line for line in lines if line.startswith(":"))
    assert lines[-1] == "data: [DONE]"


def _collect(url: str, lines: list[str]) -> None:
    body = LONG | {"max_tokens": 5}
    with httpx2.stream("POST", url, json=body, timeout=60) as response:
        for line in response.iter_lines():
            if line:
                lines.append(line)  # one by one: it is looked at while it grows


def test_hundreds_of_megabytes_are_refused_while_they_arrive_and_memory_stays_flat(
    fresh: Holdfast,
) -> None:
    process = psutil.Process(fresh.process.pid)
    before = process.memory_info().rss
    peak = before

    def flood() -> Iterator[bytes]:
        nonlocal peak
        yield b'{"model": "demo", "messages": [{"role": "user", "content": "'
        for _ in range(400):
            peak = max(peak, process.memory_info().rss)
            yield b"x" * 2**20

    response = httpx2.post(f"{fresh.url}/chat/completions", content=flood(), timeout=60)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    # What is read before the refusal, at most max_body (32 MiB), is held twice for a moment.
    assert peak - before < 200 * 2**20
    announced = httpx2.post(f"{fresh.url}/chat/completions", content=b"x" * 40 * 2**20, timeout=60)
    assert announced.status_code == 413


def test_a_port_in_use_names_the_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--demo", "--port", str(port), home=tmp_path / "home")
    assert done.returncode == 5
    assert f"process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_holdfast_on_one_home_names_the_first(demo: Holdfast) -> None:
    done = run("serve", "--demo", "--port", "0", home=demo.home)
    assert done.returncode == 5
    assert f"process {demo.process.pid}" in done.stderr


def test_listening_for_others_without_a_key_is_refused(tmp_path: Path) -> None:
    done = run("serve", "--demo", "--host", "0.0.0.0", "--port", "0", home=tmp_path / "home")
    assert done.returncode == 2
    assert "holdfast keys create" in done.stderr


def test_keys_are_needed_as_soon_as_one_exists_and_gone_when_revoked(fresh: Holdfast) -> None:
    client = fresh.client()
    assert client.models.list().data
    key = run("keys", "create", "laptop", home=fresh.home).stdout.strip()
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert fresh.client(api_key=key).models.list().data
    assert (
        httpx2.get(f"{fresh.url}/models", headers={"x-api-key": key}, timeout=60).status_code == 200
    )
    assert run("keys", "revoke", "laptop", home=fresh.home).returncode == 0
    with pytest.raises(openai.AuthenticationError):
        fresh.client(api_key=key).models.list()


def test_no_engine_hears_of_keys_and_none_listens_on_tcp(tmp_path: Path) -> None:
    secrets = {"OPENAI_API_KEY": "canary-1", "HF_TOKEN": "canary-2", "LLAMA_ARG_PORT": "1"}
    with holdfast(tmp_path / "home", "--demo", extra=secrets) as running:
        running.wait_ready()
        for process in running.descendants():
            surroundings = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert b"canary" not in surroundings
            assert b"LLAMA_ARG_PORT" not in surroundings
            assert [c for c in process.net_connections("inet") if c.status == "LISTEN"] == []


def test_an_unreadable_configuration_is_told_with_all_its_errors(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.toml"
    overlay.write_text('[serve]\nport = "eight"\nhots = "x"\n')
    done = run("serve", "--config", str(overlay), home=tmp_path / "home")
    assert done.returncode == 2
    assert "serve.port" in done.stderr
    assert "serve.hots" in done.stderr
    assert "host" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "serve", "--demo", "--port", "0"],
        env=environment(tmp_path / "home"),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "listens at" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_client_that_waits_for_a_slow_engine_is_told_and_then_answered(tmp_path: Path) -> None:
    real = find_llama_server(settings.load(os.environ)).path
    slow = tmp_path / "llama-server"
    version = 'if [ "$1" = --version ]; then echo "version: 9999 (slow)"; exit; fi'
    slow.write_text(f'#!/bin/sh\n{version}\nsleep 2\nexec {real} "$@"\n')
    slow.chmod(0o755)
    with holdfast(
        tmp_path / "home", "--demo", extra={"HOLDFAST_LLAMA_SERVER": str(slow)}
    ) as running:
        assert httpx2.get(f"{running.root}/livez", timeout=60).status_code == 200
        unready = httpx2.get(f"{running.root}/readyz", timeout=60)
        assert (unready.status_code, unready.json()["engines"]) == (503, {"demo:f16": "starting"})
        lines: list[str] = []
        _collect(f"{running.url}/chat/completions", lines)
        assert httpx2.get(f"{running.root}/readyz", timeout=60).status_code == 200
    assert lines[0].startswith(": loading demo:f16")
    assert lines[-1] == "data: [DONE]"


def serve_with(tmp_path: Path, overlay: str, *models: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "overlay.toml"
    path.write_text(overlay)
    return run("serve", *models, "--port", "0", "--config", str(path), home=tmp_path / "home")


def test_a_model_that_does_not_fit_says_the_bytes_needed_and_free(tmp_path: Path) -> None:
    overlay = f"""
        [serve]
        slots = 64
        context = 262144
        [[model]]
        id = "large"
        like = "qwen3.5-397b-a17b"
        [[build]]
        model = "large"
        id = "f16"
        engine = "llama-server"
        format = "gguf"
        quant = "F16"
        path = "{embedded.GGUF}"
    """
    done = serve_with(tmp_path, overlay, "large")
    assert done.returncode == 3
    assert re.search(r"needs [\d.]+ GiB of RAM, [\d.]+ GiB more than are free", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("damage", ["cut", "magic", "count", "empty"])
def test_a_corrupt_gguf_never_reaches_an_engine(tmp_path: Path, damage: str) -> None:
    data = embedded.GGUF.read_bytes()
    broken = {
        "cut": data[:-4096],
        "magic": b"GGML" + data[4:],
        "count": data[:8] + b"\xff" * 8 + data[16:],
        "empty": b"",
    }
    (tmp_path / "broken.gguf").write_bytes(broken[damage])
    overlay = """
        [[model]]
        id = "broken"
        like = "demo"
        [[build]]
        model = "broken"
        id = "f16"
        engine = "llama-server"
        format = "gguf"
        quant = "F16"
        path = "broken.gguf"
    """
    done = serve_with(tmp_path, overlay, "broken")
    assert done.returncode == 4, done.stderr
    assert "broken.gguf" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "home" / "logs").glob("*"))
