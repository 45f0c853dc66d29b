"""Clients of a Holdfast whose models do not fit together: what they see while models move."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil
import pytest

from server import settings
from server.engines.binary import find_llama_server
from tests.integration.running import COMMAND, Holdfast, environment, run, serving
from tests.integration.test_faults import LONG, events
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

NODE = Path(__file__).with_name("crowded_node.py")
QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "What is Holdfast?"}]}


def crowded(
    folder: Path, *kinds: str, extra: dict[str, str] | None = None
) -> AbstractContextManager[Holdfast]:
    return serving([sys.executable, str(NODE), *kinds], folder / "home", extra)


@pytest.fixture
def swapping(tmp_path: Path) -> Iterator[Holdfast]:
    with crowded(tmp_path, "resident", "on-demand") as served:
        wait_for(lambda: states(served)["demo:f16"] == "ready", 60)
        yield served


def states(served: Holdfast) -> dict[str, str]:
    return {engine["name"]: engine["state"] for engine in served.ps()}


def apply(served: Holdfast, values: Any, query: str = "") -> httpx2.Response:
    transport = httpx2.HTTPTransport(uds=str(settings.load(environment(served.home)).admin_socket))
    with httpx2.Client(transport=transport, timeout=60) as client:
        return client.post(f"http://holdfast/admin/plan/apply{query}", json=values)


def test_two_models_move_under_load_and_no_request_fails(swapping: Holdfast) -> None:
    client = swapping.client(timeout=60)

    def ask(number: int) -> str:
        model = ("demo:f16", "demo:second")[number % 2]
        answer = client.chat.completions.create(model=model, max_tokens=24, **QUESTION)
        return answer.choices[0].message.content or ""

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(30)))
    assert len(answers) == 30
    assert all(answers)
    told = swapping.ps()
    assert [engine["requests"] for engine in told] == [15, 15]
    assert all(engine["restarts"] == 0 for engine in told)
    assert sorted(states(swapping).values()) in (["ready", "stopped"], ["draining", "ready"])
    assert "demo:f16 stops: demo:second needs its memory\n" in swapping.log.read_text()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Where a file must be for the engines of `slow` to load."""
    return tmp_path / "gate"


@pytest.fixture
def slow(tmp_path: Path, gate: Path) -> Iterator[Holdfast]:
    """One whose engines load only when the test opens the gate."""
    program = find_llama_server(settings.load(os.environ)).path
    late = tmp_path / "late"
    late.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo "version: 9999 (slow)"; exit;; esac\n'
        f'until [ -e {gate} ]; do sleep 0.05; done\nexec {program} "$@"\n'
    )
    late.chmod(0o755)
    extra = {"HOLDFAST_LLAMA_SERVER": str(late)}
    with crowded(tmp_path, "on-demand", "on-demand", extra=extra) as served:
        yield served


def test_who_waits_for_a_model_to_load_is_told_so(slow: Holdfast, gate: Path) -> None:
    body = QUESTION | {"model": "demo:second", "stream": True, "max_tokens": 8}
    with httpx2.stream("POST", f"{slow.url}/chat/completions", json=body, timeout=60) as response:
        received = response.iter_lines()
        assert next(received).startswith(": loading demo:second")
        gate.touch()
        assert list(received)[-2] == "data: [DONE]"
    assert states(slow) == {"demo:f16": "absent", "demo:second": "ready"}


def test_load_shows_how_far_it_is(slow: Holdfast, gate: Path) -> None:
    waiting = starting(slow, "load", "demo:second", "--json")
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("loading demo:second, ")
    gate.touch()
    done, _ = waiting.communicate(timeout=60)
    assert json.loads(done)["state"] == "ready"


def test_who_stops_waiting_for_a_load_does_not_end_it(slow: Holdfast, gate: Path) -> None:
    waiting = starting(slow, "load", "demo:second")
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "goes on loading: `holdfast unload demo:second` ends that" in told
    gate.touch()
    wait_for(lambda: states(slow)["demo:second"] == "ready", 60)


def test_a_load_that_somebody_ends_is_told_so(slow: Holdfast) -> None:
    waiting = starting(slow, "load", "demo:second")
    done = run("unload", "demo:second", home=slow.home)
    _, told = waiting.communicate(timeout=60)
    assert (done.stdout, waiting.returncode) == ("demo:second is unloaded.\n", 3)
    assert "demo:second is being unloaded" in told
    assert states(slow)["demo:second"] == "stopped"


def starting(served: Holdfast, *arguments: str) -> subprocess.Popen[str]:
    """A `holdfast` command that waits for an engine to start."""
    process = subprocess.Popen(
        [COMMAND, *arguments],
        env=environment(served.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: "starting" in states(served).values(), 60)
    return process


@contextlib.contextmanager
def streaming(served: Holdfast, model: str) -> Iterator[tuple[Iterator[Any], psutil.Process]]:
    """The events of a long answer that has begun, and its engine, which computes no further until
    it is resumed."""
    (pid,) = [engine["pid"] for engine in served.ps() if engine["name"] == model]
    engine = psutil.Process(pid)
    url = f"{served.url}/chat/completions"
    with httpx2.stream("POST", url, json=LONG | {"model": model}, timeout=60) as response:
        received = events(response)
        next(received)
        engine.suspend()
        try:
            yield received, engine
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                engine.resume()


def test_who_leaves_while_a_model_loads_frees_its_place(swapping: Holdfast) -> None:
    with streaming(swapping, "demo:f16") as (received, engine):
        assert swapping.ps()[0]["running"] == 1
        connection = swapping.begin(QUESTION | {"model": "demo:second"})
        wait_for(lambda: swapping.ps()[1]["waiting"] == 1, 60)
        connection.close()
        wait_for(lambda: swapping.ps()[1]["waiting"] == 0, 60)
        engine.resume()
        assert list(received)[-1] == "[DONE]"
    assert states(swapping)["demo:f16"] == "ready", "nobody waits any more: it stays"


def test_a_stream_that_runs_is_finished_before_the_model_goes(swapping: Holdfast) -> None:
    client = swapping.client(timeout=60)
    with streaming(swapping, "demo:f16") as (received, engine), ThreadPoolExecutor(1) as pool:
        asking = pool.submit(
            lambda: client.chat.completions.create(model="demo:second", **QUESTION)
        )
        wait_for(lambda: swapping.ps()[1]["waits_for"], 60)
        engine.resume()
        assert list(received)[-1] == "[DONE]"
        assert asking.result(60).choices[0].message.content


def test_a_pinned_model_is_not_moved_and_the_client_is_told(tmp_path: Path) -> None:
    with crowded(tmp_path, "pinned", "on-demand") as served:
        wait_for(lambda: states(served)["demo:f16"] == "ready", 60)
        with pytest.raises(openai.InternalServerError) as caught:
            served.client().chat.completions.create(model="demo:second", **QUESTION)
        assert caught.value.status_code == 503
        assert caught.value.code == "model_does_not_fit"
        assert "demo:f16 is pinned there" in caught.value.message
        told = run("load", "demo:second", home=served.home)
        assert told.returncode == 3
        assert "demo:f16 is pinned there" in told.stderr
        assert httpx2.get(f"{served.root}/readyz", timeout=60).status_code == 503


def test_load_unload_and_ps_on_the_command_line(swapping: Holdfast) -> None:
    loaded = run("load", "demo:second", home=swapping.home)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.startswith("demo:second is ready; its last load took ")
    assert states(swapping) == {"demo:f16": "stopped", "demo:second": "ready"}
    assert httpx2.get(f"{swapping.root}/readyz", timeout=60).status_code == 200
    told = run("ps", home=swapping.home).stdout.splitlines()
    assert told[0].split()[:4] == ["MODEL", "STATE", "WHERE", "PID"]
    assert told[2].split()[:3] == ["demo:second", "ready", "RAM"]
    gone = run("unload", "demo:second", "--json", home=swapping.home)
    assert json.loads(gone.stdout)["state"] == "stopped"
    wait_for(lambda: states(swapping)["demo:f16"] == "ready", 60)
    unknown = run("unload", "nobody", home=swapping.home)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "Served: demo:f16, demo:second" in unknown.stderr


def test_a_plan_is_applied_and_what_it_no_longer_has_ends(swapping: Holdfast) -> None:
    assignment: dict[str, Any] = {
        "deployment": {
            "model": "demo", "build": "demo:second", "engine": "llama-server", "gpus": [],
            "context": 2048, "slots": 1,
        },
        "bytes": {"ram": {"weights": 1}},
        "residency": "resident",
        "pin": True,
    }  # fmt: skip
    plan = {"assignments": [assignment]}
    foreseen = apply(swapping, plan, "?dry_run=1").json()["actions"]
    expected = [("stop", "demo:f16"), ("start", "demo:second")]
    assert [(a["kind"], a["name"]) for a in foreseen] == expected
    assert states(swapping) == {"demo:f16": "ready", "demo:second": "absent"}
    assert apply(swapping, plan).json()["actions"] == foreseen
    wait_for(lambda: states(swapping) == {"demo:second": "ready"}, 60)
    (engine,) = swapping.ps()
    assert (engine["pinned"], engine["context"], engine["slots"]) == (True, 2048, 1)
    models = [model.id for model in swapping.client().models.list()]
    assert models[:2] == ["demo", "demo:second"]
    assert swapping.client().chat.completions.create(model="demo", **QUESTION).choices


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({}, "it has no list of assignments"),
        ({"assignments": [{}]}, "assignments[0] has no 'deployment'"),
        ({"assignments": [{"deployment": {"model": "demo"}}]}, "assignments[0]: "),
        ({"assignments": 1}, "it has no list of assignments"),
    ],
)
def test_what_is_no_plan_changes_nothing(demo: Holdfast, plan: Any, told: str) -> None:
    answer = apply(demo, plan)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert states(demo) == {"demo:f16": "ready"}
