"""Predicted memory beside what a real llama-server takes, before and after one calibration start.

Random-weight files in the exact shapes of 0.8B and 2B, several quants, contexts, slots and types of
KV cache. Actual is what llama-server logs of its buffers, and of the process what the kernel counts
besides. The peers' formulas are those that Ollama and GPUStack place by: the file and a KV cache on
every layer, and 1.2 times the file and 2 GiB.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import random_model
from scripts.benchmarks.programs import BenchError, Program, running
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from server import catalogue, settings
from server.catalogue import Architecture
from server.engines.actuals import LlamaServerLog, with_process
from server.engines.binary import find_llama_server
from server.engines.llama_server import Launch, argv, environment
from server.engines.program import Reserved
from server.engines.resident import resident
from server.planning.accuracy import Row, rows
from server.planning.calibration import NONE, Corrections, Observation, learn, observe
from server.planning.deployment import Deployment, KvType
from server.planning.footprint import EXACT, RAM, footprint
from server.planning.weights import WeightMap, from_gguf_headers
from server.store.gguf import read_header
from server.units import GIB, MIB

log = logging.getLogger("bench")

FIRST = Target("at most", 8.0)
CORRECTED = Target("at most", 3.0)
DIFFERENT = Target("at most", 0.0)
_LOGGED = 0.006 * MIB
"""The log has two decimals of a MiB."""
_PATIENCE = 120.0
_VERSION = "measured"


@dataclass(frozen=True, slots=True)
class Shape:
    """How an engine is started: tokens of each slot, slots, type of the KV cache."""

    context: int
    slots: int
    kv_type: KvType


@dataclass(frozen=True, slots=True)
class Effort:
    files: tuple[tuple[str, random_model.Quant], ...]
    shapes: tuple[Shape, ...]


_SHAPES = (
    Shape(4096, 1, "f16"),
    Shape(4096, 4, "f16"),
    Shape(32_768, 1, "f16"),
    Shape(32_768, 4, "q8_0"),
    Shape(131_072, 1, "q8_0"),
    Shape(8192, 8, "f16"),
    Shape(1000, 3, "q8_0"),
)
FULL = Effort(
    files=(
        ("qwen3.5-0.8b", "Q4_0"), ("qwen3.5-0.8b", "Q4_K_M"), ("qwen3.5-0.8b", "Q8_0"),
        ("qwen3.5-2b", "Q4_0"), ("qwen3.5-2b", "Q4_K_M"), ("qwen3.5-2b", "Q6_K"),
    ),
    shapes=_SHAPES,
)  # fmt: skip
QUICK = Effort(files=(("qwen3.5-0.8b", "Q4_0"),), shapes=_SHAPES[:3])


@dataclass(frozen=True, slots=True)
class Case:
    """One start, and the bytes that it took."""

    deployment: Deployment
    architecture: Architecture
    weights: WeightMap
    file_bytes: int
    actual: Reserved

    def observed(self, corrections: Corrections = NONE) -> tuple[Observation, ...]:
        formula = footprint(self.deployment, self.architecture, self.weights)
        plan = footprint(self.deployment, self.architecture, self.weights, corrections)
        return observe("", self.deployment, _VERSION, {}, formula, plan, self.actual)

    @property
    def peers(self) -> Mapping[str, float]:
        """Percent by which the peers' formulas are off."""
        d, a = self.deployment, self.architecture
        taken = sum(self.actual.values())
        cache = a.layers * 2 * a.kv_heads * a.head_dim * 2 * d.context * d.slots
        guesses = {
            "Ollama's": self.file_bytes + cache,
            "GPUStack's": 1.2 * self.file_bytes + 2 * GIB,
        }
        return {name: 100 * abs(guess / taken - 1) for name, guess in guesses.items()}


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError, EngineMissing."""
    cases = list(_cases(effort, work))
    # One start of the first file teaches; the others are planned with what it taught.
    corrections = learn(cases[0].observed(), versions={"llama-server": _VERSION}, kinds={})
    first = [rows(case.observed()) for case in cases]
    corrected = [rows(case.observed(corrections)) for case in cases[1:]]
    parts = sorted({row.component or "total" for found in first for row in found})
    results = [_exact(first)]
    for part in ("total", *(part for part in parts if part not in ("total", *EXACT))):
        results.append(_result(part, first, "before", FIRST, cases))
        results.append(_result(part, corrected, "after one start", CORRECTED, cases[1:]))
    note = (
        f"footprint: {len(cases)} starts of a real llama-server with random weights in the shapes "
        f"of {' and '.join(dict.fromkeys(name for name, _ in effort.files))}; percent off, of "
        "which the figure is the worst"
    )
    return Report({}, tuple(results), (note,))


def _exact(found: Sequence[tuple[Row, ...]]) -> Result:
    """Starts in which KV cache or state are not those of the log."""
    exact = [
        float(any(abs(row.difference) > _LOGGED for row in start if row.component in EXACT))
        for start in found
    ]
    wrong = Sample(tuple(exact))
    return Result("footprint", "KV, state inexact", "starts", wrong, {}, sum(exact), "", DIFFERENT)


def _result(
    part: str, found: Sequence[tuple[Row, ...]], when: str, target: Target, cases: Sequence[Case]
) -> Result:
    errors = tuple(
        100 * abs(row.error or 0)
        for start in found
        for row in start
        if (row.component or "total") == part
    )
    peers = {}
    if part == "total":
        peers = {name: Sample(tuple(case.peers[name] for case in cases)) for name in cases[0].peers}
    sample = Sample(errors)
    return Result("footprint", f"{part}, {when}", "%", sample, peers, max(errors), "%", target)


def _cases(effort: Effort, work: Path) -> Iterator[Case]:
    own = settings.load(os.environ, home=work / "home", configs=())
    binary, models = find_llama_server(own).path, catalogue.load(own).models
    for name, quant in effort.files:
        architecture = models[name].architecture
        file = work / f"{name}-{quant}.gguf"
        log.info("footprint: writing %s", file.name)
        random_model.write_quantized(file, architecture, quant)
        weights = from_gguf_headers([read_header(file)], architecture.layers)
        for shape in effort.shapes:
            wanted = Deployment(
                name, f"{name}:{quant.lower()}", "llama-server", (), shape.context, shape.slots,
                kv_type=shape.kv_type, vision=False,
            )  # fmt: skip
            actual = _start(binary, file, wanted, work)
            case = Case(wanted, architecture, weights, file.stat().st_size, actual)
            total = next(row for row in rows(case.observed()) if row.component is None)
            log.info(
                "footprint: %s, %d x %d tokens, %s: predicted %.0f MiB, actual %.0f MiB",
                wanted.build, wanted.slots, wanted.context, wanted.kv_type,
                total.predicted / MIB, total.actual / MIB,
            )  # fmt: skip
            yield case
        file.unlink()


def _start(binary: Path, file: Path, wanted: Deployment, work: Path) -> Reserved:
    """What a llama-server of `file` takes once it is ready; it is ended then."""
    launch = Launch(
        binary,
        file,
        "bench",
        work / "footprint.sock",
        context=wanted.context,
        slots=wanted.slots,
        threads=os.cpu_count() or 1,
        kv_type=wanted.kv_type,
    )
    output = work / "footprint.log"
    output.unlink(missing_ok=True)
    launch.socket.unlink(missing_ok=True)
    with running(argv(launch), output, environment=environment(os.environ)) as engine:
        _await(engine, launch.socket)
        lies = resident([engine.process.pid])
    reader = LlamaServerLog()
    for line in output.read_text(errors="replace").splitlines():
        reader.feed(line)
    if lies is None or (RAM, "kv_cache") not in reader.reserved():
        raise BenchError(f"neither the kernel nor {output} tells what llama-server took")
    return with_process(reader.reserved(), reader.filled, lies, {})


def _await(engine: Program, path: Path) -> None:
    """Return when the engine's health check is answered with 200."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        engine.check()
        connection = http.client.HTTPConnection("engine")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(str(path))
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise BenchError(f"llama-server was not ready after {_PATIENCE:.0f} s; see {engine.log}")
