"""`holdfast plan` as a person runs it, and a running Holdfast that is changed by it."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.running import COMMAND, Holdfast, environment, run
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

FAMILY = 8
LLAMA_SERVER = {"HOLDFAST_LLAMA_SERVER": "/nonexistent/llama-server"}


def plan(home: Path, *arguments: str, code: int = 0, **changes: str) -> str:
    """What it prints; of an error, what it says."""
    done = subprocess.run(
        [COMMAND, "plan", *arguments],
        env=environment(home) | changes,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


# ---- Hardware that is not here ----


@pytest.mark.parametrize(
    "hardware", ["1x4090+64G", "2x3090+nvlink+128G", "8xH100-80G+2T", "cpu+16G", "unified+128G"]
)
def test_hardware_that_is_not_here(tmp_path: Path, hardware: str) -> None:
    made = json.loads(plan(tmp_path, "--hardware", hardware, "--json"))
    served = [one["deployment"] for one in made["assignments"]]
    assert served
    assert len({one["model"] for one in served} | set(made["left_out"])) == FAMILY
    for pool in made["pools"]:
        assert 0 <= pool["used"] <= pool["free"] < pool["memory"]
    told = {one["name"].partition(":")[0] for one in made["rejections"]}
    assert set(made["left_out"]) <= told, "each model that is left out has a reason"
    commands = {one["build"]: one["argv"] for one in made["commands"]}
    assert commands.keys() == {one["build"] for one in served}
    for one in served:
        argv = commands[one["build"]]
        if one["engine"] == "llama-server":
            assert argv[argv.index("--parallel") + 1] == str(one["slots"])
            assert argv[argv.index("--ctx-size") + 1] == str(one["slots"] * one["context"])
        else:
            assert argv[argv.index("--max-model-len") + 1] == str(one["context"])


def test_as_text_every_line_says_something(tmp_path: Path) -> None:
    text = plan(tmp_path, "--hardware", "cpu+8G", "--commands")
    assert text.startswith("Plan for cpu+8G\nno GPU, 8.0 GiB of RAM, 4 cores\n")
    for heading in ("resident: always loaded", "Memory\nRAM: 8.0 GiB = A ", "Why\nA  ", "Commands"):
        assert heading in text
    assert "limited by ." not in text
    assert "\x1b" not in text


def test_every_way_to_run_one_model(tmp_path: Path) -> None:
    text = plan(tmp_path, "--hardware", "1x4090+32G", "--explain", "qwen3.5-27b")
    assert text.count(" chosen") == 1
    assert "KV cache" in text
    assert "Turned down" in text


def test_another_machine_by_its_doctor(tmp_path: Path) -> None:
    told = run("doctor", "--json", home=tmp_path).stdout
    (tmp_path / "box.json").write_text(told)
    text = plan(tmp_path, "--hardware", str(tmp_path / "box.json"), "--models", "qwen3.5-0.8b")
    assert text.startswith(f"Plan for {tmp_path}/box.json\n")
    assert "A  qwen3.5-0.8b:" in text


# ---- Bad input ----


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--hardware", "1x4900+64G"], 2, 'Did you mean "4090"'),
        (["--hardware", "1x4090"], 2, "1x4090+64G, 8xH100-80G+2T"),
        (["--hardware", "none.json"], 2, "none.json cannot be read"),
        (["--hardware", "cpu+16G", "--apply"], 2, "Leave --hardware out"),
        (["--hardware", "cpu+16G", "--context", "much"], 2, "32768 or 32K"),
        (["--hardware", "cpu+16G", "--pin", "demo"], 2, "--pin demo is not among"),
        (["--hardware", "cpu+16G", "--explain", "demo"], 2, "Add it to --models"),
        (["--models", "qwen3.5-9"], 2, 'Did you mean "qwen3.5-9b"'),
        (["--hardware", "cpu+16G", "--models", "qwen3.5-397b-a17b"], 3, "more than are free"),
        (["--models", "qwen3.5-0.8b"], 4, "`holdfast pull qwen3.5-0.8b:"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    assert told in plan(tmp_path, *arguments, code=code)


def test_contradictory_pins(tmp_path: Path) -> None:
    both = ["--models", "qwen3.5-27b,qwen3.5-35b-a3b", "--pin", "qwen3.5-27b,qwen3.5-35b-a3b"]
    told = plan(tmp_path, "--hardware", "cpu+16G", *both, code=3)
    assert "cannot all be resident at once" in told
    assert "missing" in told


def test_without_an_engine_it_says_what_installs_one(tmp_path: Path) -> None:
    told = plan(tmp_path, "--models", "demo:f16", code=3, **LLAMA_SERVER)
    assert "scripts/setup" in told


# ---- This machine ----


def test_an_empty_store_is_told_what_a_pull_would_give(tmp_path: Path) -> None:
    text = plan(tmp_path)
    assert "0 of 8 models" in text
    assert "not in the store: qwen3.5-0.8b, " in text
    command = next(line for line in text.splitlines() if "holdfast pull" in line)
    assert run(*shlex.split(command)[1:], "--dry-run", home=tmp_path).returncode == 0


def test_without_a_start_there_is_no_accuracy(tmp_path: Path) -> None:
    assert "Nothing was observed yet" in plan(tmp_path, "--accuracy")
    assert json.loads(plan(tmp_path, "--accuracy", "--json"))["memory"] == []


def of_demo(home: Path, *arguments: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(plan(home, "--models", "demo:f16", "--json", *arguments))
    return made


def test_a_running_holdfast_changes_to_the_plan(fresh: Holdfast) -> None:
    before = fresh.engine()
    asked = ["--models", "demo:f16", "--slots", "2", "--context", "2048"]

    refused = plan(fresh.home, *asked, "--apply", code=2)
    assert "Add --yes" in refused
    assert fresh.engine()["pid"] == before["pid"]

    text = plan(fresh.home, *asked, "--apply", "--yes")
    assert [line.split()[0] for line in text.splitlines()[:2]] == ["stop", "start"]
    wait_for(lambda: fresh.engine()["pid"] not in (None, before["pid"]), 90)
    fresh.wait_ready(90)
    now = fresh.engine()
    assert (now["slots"], now["context"]) == (2, 2048)

    made = json.loads(plan(fresh.home, *asked, "--json"))
    (command,) = made["commands"]
    assert psutil.Process(now["pid"]).cmdline() == command["argv"]
    environ = psutil.Process(now["pid"]).environ()
    assert {name: environ.get(name) for name in command["environment"]} == command["environment"]

    again = plan(fresh.home, *asked, "--apply", "--yes")
    assert again.startswith("Nothing has to change")


def test_what_runs_counts_as_free_and_stays(fresh: Holdfast) -> None:
    deployment = fresh.engine()["deployment"]
    made = of_demo(fresh.home)
    assert made["assignments"][0]["deployment"] == deployment
    assert "runs already" in made["assignments"][0]["reason"]


def test_what_a_start_took_stands_beside_its_prediction(demo: Holdfast) -> None:
    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(plan(demo.home, "--accuracy", "--json"))["memory"]
        return found

    wait_for(rows, 90, every=0.5)
    exact = {row["component"] for row in rows() if row["exact"]}
    assert exact >= {"kv_cache", "state"}
    text = plan(demo.home, "--accuracy")
    assert "demo:f16, " in text
    assert "in all" in text
