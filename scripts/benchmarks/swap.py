"""How much longer than the engine's own load a model takes that has to evict another.

A fleet with room for one of two models is asked for the one that does not run, again and again.
Each time the same engine is then launched alone, with the same flags, and asked the same. Files
come from the page cache for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmarks import load, random_model
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import paired_difference, sample
from scripts.benchmarks.startup import engine_alone
from server import catalogue, demo, settings
from server.engines.berth import Berth
from server.engines.binary import find_llama_server
from server.engines.engine import Engine
from server.engines.fleet import Fleet
from server.engines.llama_server import Launch
from server.engines.slots import SlotQueue
from server.engines.yard import Yard
from server.planning.deployment import Deployment
from server.routing.attempt import Attempt, Patience

log = logging.getLogger("bench")

SHAPE = "qwen3.5-0.8b"
TARGET = Target("at most", 0.3)
_PATH = "/v1/completions"
_BODY = {"prompt": "What is Holdfast?", "max_tokens": 1}
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int


FULL = Effort(runs=9)
QUICK = Effort(runs=2)


def measure(effort: Effort, work: Path, cache: Path) -> Report:
    """Raises BenchError, LoadError, EngineMissing."""
    own = settings.load(os.environ, home=work / "home", configs=())
    program = find_llama_server(own).path
    shape = catalogue.load(own).models[SHAPE].architecture
    weights = random_model.cached(cache, shape, program.resolve().with_name("llama-quantize"))
    cases = (("demo", demo.GGUF, 1), (f"{SHAPE} shape", weights, len(os.sched_getaffinity(0))))
    results = []
    for name, file, threads in cases:
        launch = Launch(
            binary=program,
            model_file=file,
            alias="swap",
            socket=work / "alone.sock",
            context=4096,
            slots=4,
            threads=threads,
        )
        results.append(asyncio.run(_compare(name, launch, effort, work)))
    note = (
        "swap: a request for a model that has to evict an idle one, to its answer of one token, "
        f"less the same of the engine alone; {effort.runs} runs, files in the page cache"
    )
    return Report({}, tuple(results), (note,))


async def _compare(name: str, launch: Launch, effort: Effort, work: Path) -> Result:
    swaps: list[float] = []
    alone: list[float] = []
    async with _fleet(launch, work) as fleet:
        await fleet.load("left")
        await fleet.load("right")
        for run in range(effort.runs):
            swaps.append(await _ask(fleet, ("left", "right")[run % 2]))
            alone.append(await asyncio.to_thread(engine_alone, launch, _ask_alone))
            log.info("swap, %s, run %d: %.3f s, alone %.3f s", name, run + 1, swaps[-1], alone[-1])
    over = paired_difference(sample(swaps), sample(alone))
    peers = {"engine alone": sample(alone)}
    return Result("swap", name, "s", sample(swaps), peers, over, "s more", TARGET)


@contextlib.asynccontextmanager
async def _fleet(launch: Launch, work: Path) -> AsyncIterator[Fleet]:
    """Two models that share one file, and room for one of them."""

    def engine(deployment: Deployment, queue: SlotQueue) -> Engine:
        own = replace(launch, socket=work / f"{deployment.model}.sock")
        return Engine(deployment.build, own, logs=work / "logs", queue=queue)

    berths = [
        Berth(name, Deployment(name, name, "llama-server", (), 4096, 4), {"ram": 1}, "on demand")
        for name in ("left", "right")
    ]
    fleet = Fleet(Yard(engine), {"ram": 1})
    fleet.apply(berths)
    acting = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        acting.cancel()
        await fleet.stop_all(0)


async def _ask(fleet: Fleet, name: str) -> float:
    """Seconds from the request to its whole answer."""
    begun = time.perf_counter()
    patience = Patience(_TIMEOUT, _TIMEOUT)
    async with Attempt(
        fleet.get(name), _PATH, dict(_BODY), client="bench", slots=1, patience=patience
    ) as attempt:
        await attempt.whole()
    return time.perf_counter() - begun


def _ask_alone(address: load.Address) -> None:
    load.at_once(address, [load.request(_PATH, _BODY)], timeout=_TIMEOUT)
