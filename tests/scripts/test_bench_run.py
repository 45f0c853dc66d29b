"""The benchmarks as a whole, in their shortest form; they need no llama-server."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scripts.benchmarks import load, throughput
from scripts.benchmarks.holdfast import configuration
from server import catalogue
from server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """As a shell starts it in the background, with SIGINT ignored."""
    ignoring = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    ignoring += (
        "os.execv(sys.executable, [sys.executable, '-m', 'scripts.benchmarks', *sys.argv[1:]])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", ignoring, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
def test_streams_are_measured_and_recorded(tmp_path: Path) -> None:
    done = start(tmp_path, "streams", "--quick", "--json")
    output, errors = done.communicate(timeout=120)
    assert done.returncode in (0, 1), errors  # 1: a target was missed, as on a busy machine
    results = {result["case"]: result for result in json.loads(output)["results"]}
    times = results["200 x 50 events"]
    assert len(times["holdfast"]["values"]) == len(times["peers"]["direct"]["values"]) == 3
    assert times["peers"]["direct"]["median"] >= 0.98  # 50 events, 20 ms apart
    assert times["figure_unit"] == "x"
    assert results["peak memory"]["holdfast"]["median"] > 1


@pytest.mark.integration
def test_pulls_are_killed_for_a_while_and_nothing_is_wrong(tmp_path: Path) -> None:
    output, errors = start(tmp_path, "--soak", "8s", "--json").communicate(timeout=300)
    (result,) = json.loads(output)["results"]
    assert result["figure"] == 0, errors
    assert re.fullmatch(r"[1-9]\d* kills, \d+ finished", result["case"])
    assert not list(tmp_path.glob("holdfast-bench-*"))


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    bench = start(tmp_path, "streams", "--quick")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("**/*@bench.sock")):
        assert bench.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = psutil.Process(bench.pid).children(recursive=True)
    assert len(started) >= 2  # Holdfast, and below it its engine
    bench.send_signal(number)
    _, errors = bench.communicate(timeout=60)
    assert bench.returncode == 130, errors
    assert "interrupted" in errors
    assert not [process for process in started if process.is_running()]
    assert not list(tmp_path.glob("holdfast-bench-*"))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["nothing"], 2, "invalid choice"),
        ([], 2, "required"),
        (["--soak", "soon"], 2, "--soak"),
        (["streams", "--quick", "--record", "x"], 3, "not for the record"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str], status: int, told: str) -> None:
    bench = start(tmp_path, *arguments)
    _, errors = bench.communicate(timeout=30)
    assert bench.returncode == status
    assert told in errors


def test_the_configuration_is_one_that_holdfast_reads(tmp_path: Path) -> None:
    weights = tmp_path / 'a "file".gguf'
    overlay = configuration(tmp_path / "x.toml", "demo", weights, context=512, slots=1000)
    known = catalogue.load(Settings(tmp_path, (overlay,)))
    assert known.serve.models == ("demo:bench",)
    assert (known.serve.context, known.serve.slots) == (512, 1000)
    build = known.models["demo"].build("bench")
    assert build is not None
    assert build.path == weights


def test_prompts_differ_and_are_equally_long() -> None:
    some = list(itertools.islice(throughput.prompts(), 1000))
    assert len(set(some)) == 1000
    assert {len(prompt) for prompt in some} == {64}
    assert len({prompt[:8] for prompt in some}) == 1000
    assert some[:10] == list(itertools.islice(throughput.prompts(), 10))


@pytest.mark.parametrize(
    ("usage", "end"),
    [
        ('{"completion_tokens":15}', "data: [DONE]\n\n"),
        ('{"completion_tokens":16}', ""),
        ("null", "data: [DONE]\n\n"),
    ],
)
def test_an_answer_of_another_length_does_not_count(usage: str, end: str) -> None:
    good = 'data: {"choices":[],"usage":{"completion_tokens":16}}\n\ndata: [DONE]\n\n'
    throughput.check(good.encode(), 16)
    bad = f'data: {{"choices":[],"usage":{usage}}}\n\n{end}'
    with pytest.raises(load.LoadError, match="expected 16 tokens"):
        throughput.check(bad.encode(), 16)
