"""Overflow by predicted time to first token, against spillover by a count of requests.

A trace with bursts (trace.py) is replayed through one Holdfast: a real llama-server with random
weights in Qwen3.5 0.8B's shape, and a fake cloud beside it. Once Holdfast chooses (`auto`, with the
SLO in a header); then the same trace for each threshold N: the client asks for the local model as
long as fewer than N of its requests are there, else for the cloud's, as such routers do. What the
clouds are paid is compared at equal attainment of the SLO: with the cheapest threshold that attains
as much, or, where none does, with the one that attains most.

The predictor's error is what Holdfast's own metrics tell of the first replay: the part of the local
answers whose first token came after 0.8 to 1.25 times the predicted time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import statistics
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from scripts.benchmarks import holdfast, random_model
from scripts.benchmarks.programs import BenchError
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from scripts.benchmarks.throughput import MODEL
from scripts.benchmarks.trace import Ask, trace
from server import catalogue, settings
from server.engines.binary import find_llama_server
from tests.fakes.cloud_running import running_cloud

log = logging.getLogger("bench")

SPEND = Target("at most", 0.7)
RIGHT = Target("at least", 0.5)
_RATIO = "holdfast_time_to_first_token_ratio_bucket"
_CLOUD = "played/large"
_INPUT, _OUTPUT = 0.4, 1.6  # USD for a million tokens
_SLOTS, _CONTEXT = 4, 2048
_SCALE = 1 / 16
_LOAD = 0.7
"""Of what the engine can do, on average over the trace."""
_SLO = 6.0
"""Times the mean prompt's reading."""
_SEED = 5
_TIMEOUT = 900.0


@dataclass(frozen=True, slots=True)
class Effort:
    requests: int
    thresholds: tuple[int, ...]


FULL = Effort(requests=120, thresholds=(1, 2, 3, 4, 6))
QUICK = Effort(requests=20, thresholds=(2,))


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one request."""

    ask: Ask
    local: bool
    ttft: float


@dataclass(frozen=True, slots=True)
class Outcome:
    attained: float
    spent: float
    """USD."""


def measure(effort: Effort, work: Path, cache: Path) -> Report:
    """Raises BenchError, EngineMissing."""
    own = settings.load(os.environ, home=work / "home", configs=())
    program = find_llama_server(own)
    shape = catalogue.load(own).models[MODEL].architecture
    weights = random_model.cached(cache, shape, program.path.resolve().with_name("llama-quantize"))
    home = work / "overflow"
    overlay = holdfast.configuration(
        home / "bench.toml", MODEL, weights, context=_CONTEXT, slots=_SLOTS
    )
    environment = {"HOLDFAST_LLAMA_SERVER": str(program.path), "BENCH_KEY": "played"}
    with running_cloud("openai_api") as cloud:
        with overlay.open("a", encoding="utf-8") as file:
            file.write(_configuration(cloud.url))
        arguments = ("--config", str(overlay))
        with holdfast.serving(home, arguments, environment=environment) as served:
            return asyncio.run(_measured(served, effort))


def _configuration(url: str) -> str:
    return f"""
[[alias]]
name = "bench"
candidates = ["local", "{_CLOUD}"]
floor = 0

[[provider]]
id = "played"
kind = "openai"
url = "{url}/v1"
key = {{ env = "BENCH_KEY" }}

[[cloud]]
id = "{_CLOUD}"
title = "played"
context = 100000
max_output = 4096
features = ["temperature", "logit_bias", "stop"]
price = {{ input = "{_INPUT} USD/1M", output = "{_OUTPUT} USD/1M" }}
"""


async def _measured(served: holdfast.Holdfast, effort: Effort) -> Report:
    host, port = served.address
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        f"http://{host}:{port}", connector=connector, timeout=timeout
    ) as web:
        player = Player(web)
        reads, writes = await player.calibrate()
        drawn = trace(_SEED, effort.requests, 1000.0, _SCALE)
        mean = statistics.fmean(ask.prompt - ask.seen for ask in drawn)
        work = sum((a.prompt - a.seen) / reads + a.answer / writes for a in drawn)
        asks = trace(_SEED, effort.requests, work / _LOAD, _SCALE)
        player.slo = _SLO * mean / reads
        log.info("overflow: %.0f and %.0f tokens/s, SLO %.1f s, %.0f s a replay",
                 reads, writes, player.slo, asks[-1].at)  # fmt: skip
        before = await player.ratios()
        ours = await player.play(asks, None)
        after = await player.ratios()
        counted = {n: player.outcome(await player.play(asks, n)) for n in effort.thresholds}
    return _report(player, ours, counted, _within(before, after))


class Player:
    """Replays a trace, and sees what becomes of it."""

    def __init__(self, web: aiohttp.ClientSession) -> None:
        self.slo = 60.0
        self._web = web
        self._run = 0
        self._local = 0
        """Requests that the client has at the local model."""

    async def calibrate(self) -> tuple[float, float]:
        """Prompt tokens and tokens of all answers together, a second; Holdfast learns, too."""
        for number in range(3):
            await self._send(Ask(0, number, 0, 50, 2), _CLOUD)
        alone = [await self._send(Ask(0, n, 0, 200, 2), MODEL) for n in range(1000, 1004)]
        began = time.monotonic()
        many = [Ask(0, n, 0, 8, 40) for n in range(1004, 1004 + _SLOTS)]
        await asyncio.gather(*(self._send(ask, MODEL) for ask in many))
        reads = 200 / statistics.median(one.ttft for one in alone)
        return reads, _SLOTS * 40 / (time.monotonic() - began)

    async def play(self, asks: Sequence[Ask], threshold: int | None) -> list[Served]:
        """`threshold`: requests from which on the cloud is asked; None: Holdfast chooses."""
        self._run += 1
        began = time.monotonic()
        tasks = []
        for ask in asks:
            await asyncio.sleep(max(0.0, began + ask.at - time.monotonic()))
            if threshold is None:
                tasks.append(asyncio.create_task(self._send(ask, "bench")))
            else:
                model = MODEL if self._local < threshold else _CLOUD
                tasks.append(asyncio.create_task(self._send(ask, model)))
            await asyncio.sleep(0)
        found = list(await asyncio.gather(*tasks))
        outcome = self.outcome(found)
        log.info("overflow, %s: %.1f %% within the SLO, $%.6f", threshold or "predicted",
                 100 * outcome.attained, outcome.spent)  # fmt: skip
        return found

    def outcome(self, found: Sequence[Served]) -> Outcome:
        spent = sum(
            _INPUT * one.ask.prompt + _OUTPUT * one.ask.answer for one in found if not one.local
        )
        attained = sum(one.ttft <= self.slo for one in found) / len(found)
        return Outcome(attained, spent / 1e6)

    async def ratios(self) -> dict[float, float]:
        """Local answers whose first token took at most so many times what was predicted."""
        async with self._web.get("/metrics") as answer:
            page = await answer.text()
        found: dict[float, float] = {}
        for line in page.splitlines():
            if line.startswith(_RATIO) and 'route="local"' in line:
                bound = float(line.partition('le="')[2].partition('"')[0])
                found[bound] = found.get(bound, 0) + float(line.rpartition(" ")[2])
        return found

    async def _send(self, ask: Ask, model: str) -> Served:
        began = time.monotonic()
        self._local += model == MODEL
        first: float | None = None
        try:
            async with self._web.post(
                "/v1/chat/completions", json=self._body(ask, model), headers=self._headers(ask)
            ) as answer:
                if answer.status != 200:
                    raise BenchError(f"{answer.status}: {(await answer.read())[:300]!r}")
                local = answer.headers["x-holdfast-route"] == "local"
                async for line in answer.content:
                    if first is None and _speaks(line):
                        first = time.monotonic()
        finally:
            self._local -= model == MODEL
        if first is None:
            raise BenchError(f"{model} said nothing")
        return Served(ask, local, first - began)

    def _headers(self, ask: Ask) -> Mapping[str, str]:
        return {
            "x-slo-ttft-ms": f"{self.slo * 1000:.0f}",
            "x-session-id": f"{self._run}-{ask.session}",
        }

    def _body(self, ask: Ask, model: str) -> dict[str, Any]:
        """A digit is a token; what was seen before is the same text as then."""
        digits = random.Random(f"{self._run} {ask.session}").choices
        said = "".join(digits(string.digits, k=ask.prompt))
        messages = [{"role": "user", "content": said[ask.seen :] + "\n#fake long 3"}]
        if ask.seen:
            before = [
                {"role": "user", "content": said[: ask.seen] + "\n"},
                {"role": "assistant", "content": "1"},
            ]
            messages = before + messages
        ends = (random_model.END_OF_TEXT_ID, random_model.TURN_END_ID)
        return {
            "model": model,
            "messages": messages,
            "max_tokens": max(16, ask.answer) if model == _CLOUD else ask.answer,
            "temperature": 0,
            "logit_bias": {str(token): -100 for token in ends},
            "stream": True,
        }


def _speaks(line: bytes) -> bool:
    """Whether a line of the stream has a word of the answer in it."""
    if not line.startswith(b"data: {"):
        return False
    choices = json.loads(line.removeprefix(b"data: ")).get("choices") or [{}]
    delta = choices[0].get("delta", {})
    return bool(delta.get("content") or delta.get("reasoning_content"))


def _within(before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """The part of the answers in between whose prediction was right."""
    grown = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    if not grown or not max(grown.values()):
        raise BenchError("nothing was answered here whose first token had been predicted")
    return (grown[1.25] - grown[0.8]) / max(grown.values())


def _report(
    player: Player, ours: Sequence[Served], counted: Mapping[int, Outcome], right: float
) -> Report:
    own = player.outcome(ours)
    equal = {n: outcome for n, outcome in counted.items() if outcome.attained >= own.attained}
    if equal:
        best = min(equal, key=lambda n: equal[n].spent)
    else:
        best = max(counted, key=lambda n: counted[n].attained)
    if not counted[best].spent:
        raise BenchError(f"with a count of {best} nothing was answered by the cloud")
    peer = Sample((counted[best].spent,))
    table = ", ".join(f"{n}: {o.attained:.1%} ${o.spent:.6f}" for n, o in counted.items())
    return Report(
        {},
        (
            Result("overflow", f"spend, {own.attained:.1%} within the SLO", "USD",
                   Sample((own.spent,)), {f"a count of {best}": peer},
                   own.spent / counted[best].spent, "x", SPEND),
            Result("overflow", "first tokens as predicted", "", Sample((right,)), {}, right, "",
                   RIGHT),
        ),
        (
            f"overflow: {len(ours)} requests, seed {_SEED}, lengths of published traces times "
            f"{_SCALE:g}, SLO {player.slo:.1f} s; by count: {table}",
        ),
    )  # fmt: skip
