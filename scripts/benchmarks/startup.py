"""From the command to the first answer of the embedded demo, each time in a new home.

Beside it stands the engine alone, with the same flags. Files come from the page cache: what a disk
adds to the very first start of all is not in these figures.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import holdfast, load
from scripts.benchmarks.programs import BenchError, Program, running
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from server import catalogue, settings
from server.engines import llama_server
from server.engines.binary import find_llama_server

log = logging.getLogger("bench")

ACCEPTS = Target("at most", 1.5)
ANSWERS = Target("at most", 4.0)
_TIMEOUT = 60.0
_POLL = 0.002
_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int


FULL = Effort(runs=9)
QUICK = Effort(runs=2)


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError, LoadError, EngineMissing."""
    own = settings.load(os.environ, home=work / "home", configs=())
    program = find_llama_server(own).path
    accepts: list[float] = []
    answers: list[float] = []
    alone: list[float] = []
    for run in range(effort.runs):
        accepted, answered = _holdfast(work / f"startup-{run}", program)
        accepts.append(accepted)
        answers.append(answered)
        alone.append(engine_alone(_demo(work / f"alone-{run}.sock", program, own), _chat))
        log.info(
            "startup, run %d: accepts after %.2f s, answers after %.2f s, engine alone %.2f s",
            run + 1, accepted, answered, alone[-1],
        )  # fmt: skip
    first = Sample(tuple(accepts))
    answer = Sample(tuple(answers))
    peers = {"engine alone": Sample(tuple(alone))}
    note = (
        f"startup: exec to answer, each in a new home, files in the page cache; {effort.runs} runs"
    )
    return Report(
        {},
        (
            Result("startup", "accepts connections", "s", first, {}, first.median, "s", ACCEPTS),
            Result("startup", "demo answers", "s", answer, peers, answer.median, "s", ANSWERS),
        ),
        (note,),
    )


def _holdfast(home: Path, program: Path) -> tuple[float, float]:
    """Seconds from the execution of `holdfast serve` until /livez and until a chat are answered."""
    environment = {"HOLDFAST_LLAMA_SERVER": str(program)}
    with holdfast.serving(home, ("--demo",), environment=environment, ready=False) as served:
        _wait_for_accept(socket.AF_INET, served.address, served.program)
        load.at_once(served.address, [_LIVEZ], timeout=_TIMEOUT)
        accepted = time.perf_counter() - served.program.begun
        _chat(served.address)
        return accepted, time.perf_counter() - served.program.begun


def _demo(path: Path, program: Path, own: settings.Settings) -> llama_server.Launch:
    build = catalogue.load(own).models["demo"].build("f16")
    assert build is not None
    assert build.path is not None
    return llama_server.Launch(
        binary=program,
        model_file=build.path,
        alias="demo",
        socket=path,
        context=4096,
        slots=4,
        threads=len(os.sched_getaffinity(0)),
    )


def engine_alone(launch: llama_server.Launch, ask: Callable[[load.Address], None]) -> float:
    """Seconds from the execution of llama-server until `ask` gets its answer."""
    path = launch.socket
    path.unlink(missing_ok=True)
    with running(launch.argv(), path.with_suffix(".log")) as engine:
        _wait_for_accept(socket.AF_UNIX, str(path), engine)
        while True:
            engine.check()
            try:
                ask(path)
            except load.LoadError as error:
                if "503" not in str(error):
                    raise
                time.sleep(_POLL)
            else:
                return time.perf_counter() - engine.begun


def _chat(address: load.Address) -> None:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "What is Holdfast?"}],
        "max_tokens": 8,
    }
    request = load.request("/v1/chat/completions", body)
    load.at_once(address, [request], timeout=_TIMEOUT)


def _wait_for_accept(family: int, address: tuple[str, int] | str, program: Program) -> None:
    """Try to connect until it works. Raises BenchError."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        program.check()
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.connect(address)
            return
        time.sleep(_POLL)
    raise BenchError(f"nothing listened on {address} after {_TIMEOUT:.0f} s")
