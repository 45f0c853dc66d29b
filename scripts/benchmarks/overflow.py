"""Overflow by predicted time to first token, against spillover by a count of requests.

Two traces with bursts (trace.py) are replayed through one Holdfast: a real llama-server with random
weights in the shape of a small Qwen3.5, so that a thousand tokens are read in a second on one core,
and a fake cloud beside it. Once Holdfast chooses, with the SLO in a header; then the same
trace for one threshold N after the other: the client asks for the local model as long as fewer than
N of its requests are there, else for the cloud's, as such routers do. Thresholds are tried until
some have attained less than Holdfast has and one as much, if any does: at most five for a trace, so
that all of it takes half an hour, and never an hour. Shorter replays would not tell what
attains all from what attains all but a few in a thousand.

What the cloud is paid is compared at equal attainment of the SLO: with the cheapest mixture of two
thresholds that attains exactly as much (spillover.py), and, for information, with the cheapest one
that attains as much less a hundredth. All thresholds are printed.

The predictor's error is that of the first replay, by Holdfast's own ledger: |predicted - actual| /
actual of the time to the first token, of each local answer. The answers end at their `max_tokens`,
as random weights never end one; so Holdfast may know how long they get, where it has learnt that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from scripts.benchmarks import holdfast, random_model
from scripts.benchmarks.programs import BenchError
from scripts.benchmarks.replay import Names, Player, Served, Speed
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from scripts.benchmarks.spillover import Outcome, cheapest, next_threshold, spent_at
from scripts.benchmarks.throughput import MODEL
from scripts.benchmarks.trace import MIXES, Ask, Mix, trace
from server import catalogue, settings
from server.catalogue import Architecture
from server.engines.binary import find_llama_server
from server.settings import Settings
from tests.fakes.cloud_running import running_cloud

log = logging.getLogger("bench")

SPEND = Target("at most", 0.7)
ERROR = Target("at most", 0.2)
_NAMES = Names(MODEL, "played/large", "bench")
_INPUT, _OUTPUT = 0.4, 1.6  # USD for a million tokens
_SLOTS, _CONTEXT = 4, 2048
_SCALE = 1 / 8
_LOAD = 0.7
"""Of what the engine can do, on average over the trace."""
_SLO = 6.0
"""Times the mean prompt's reading."""
_SLACK = 0.01
_SEED = 5
_FEWEST = 20
_UNIT = "of all-cloud's"
_TIMEOUT = 300.0  # seconds for one answer


@dataclass(frozen=True, slots=True)
class Effort:
    seconds: float
    """Of one replay."""
    requests: int
    """At the most."""
    thresholds: Sequence[int]
    mixes: Sequence[Mix]


FULL = Effort(200.0, 1000, (1, 2, 3, 4, 5, 6, 8), tuple(MIXES))
QUICK = Effort(15.0, 60, (2, 3), ("azure",))


@dataclass(frozen=True, slots=True)
class Compared:
    """One trace: what came of it with Holdfast, and with each threshold."""

    mix: Mix
    requests: int
    slo: float
    """Seconds."""
    ours: Outcome
    counted: dict[int, Outcome]


def measure(effort: Effort, work: Path, cache: Path) -> Report:
    """Raises BenchError, EngineMissing."""
    own = settings.load(os.environ, home=work / "home", configs=())
    program = find_llama_server(own)
    whole = catalogue.load(own).models[MODEL].architecture
    shape = replace(whole, layers=4, hidden=512, ffn=1536, vocab=32_768)
    weights = random_model.cached(cache, shape, program.path.resolve().with_name("llama-quantize"))
    home = work / "overflow"
    overlay = holdfast.configuration(
        home / "bench.toml", MODEL, weights, context=_CONTEXT, slots=_SLOTS
    )
    environment = {"HOLDFAST_LLAMA_SERVER": str(program.path), "BENCH_KEY": "played"}
    ends = random_model.ends(shape.vocab)
    with running_cloud("openai_api") as cloud:
        with overlay.open("a", encoding="utf-8") as file:
            file.write(_configuration(cloud.url, shape))
        arguments = ("--config", str(overlay))
        with holdfast.serving(home, arguments, environment=environment) as served:
            found = asyncio.run(_replayed(served.address, ends, effort))
    errors = {one.mix: _errors(Settings(home, ()).ledger, one.mix) for one in found}
    results = [result for one in found for result in _results(one, errors[one.mix])]
    return Report({}, tuple(results), tuple(_told(one) for one in found))


def _configuration(url: str, shape: Architecture) -> str:
    return f"""
[[model]]
id = "{MODEL}"
architecture.layers = {shape.layers}
architecture.hidden = {shape.hidden}
architecture.ffn = {shape.ffn}
architecture.vocab = {shape.vocab}

[[alias]]
name = "{_NAMES.either}"
candidates = ["local", "{_NAMES.cloud}"]
floor = 0

[[provider]]
id = "played"
kind = "openai"
url = "{url}/v1"
key = {{ env = "BENCH_KEY" }}

[[cloud]]
id = "{_NAMES.cloud}"
title = "played"
context = 100000
max_output = 4096
features = ["temperature", "logit_bias", "stop"]
price = {{ input = "{_INPUT} USD/1M", output = "{_OUTPUT} USD/1M" }}
"""


async def _replayed(
    address: tuple[str, int], ends: Sequence[int], effort: Effort
) -> list[Compared]:
    host, port = address
    async with aiohttp.ClientSession(
        f"http://{host}:{port}",
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
    ) as web:
        player = Player(web, _NAMES, ends, _SLOTS)
        speed = await player.calibrate()
        log.info("overflow: %.0f tokens/s read, %.0f written", speed.reads, speed.writes)
        return [await _compared(player, speed, mix, effort) for mix in effort.mixes]


async def _compared(player: Player, speed: Speed, mix: Mix, effort: Effort) -> Compared:
    asks = _asks(mix, speed, effort)
    slo = _SLO * statistics.fmean(ask.prompt - ask.seen for ask in asks) / speed.reads
    served = await player.play(mix, asks, slo, None)
    ours, cloud = _outcome(served, slo), [one for one in served if not one.local]
    _say(mix, "predicted", ours)
    counted = {0: _all_to_cloud(asks, cloud, slo)}
    while (n := next_threshold(ours.attained, counted, effort.thresholds)) is not None:
        counted[n] = _outcome(await player.play(f"{mix}-{n}", asks, slo, n), slo)
        _say(mix, f"a count of {n}", counted[n])
    return Compared(mix, len(asks), slo, ours, counted)


def _asks(mix: Mix, speed: Speed, effort: Effort) -> Sequence[Ask]:
    """As many as fill the time of a replay."""
    some = trace(mix, _SEED, effort.requests, effort.seconds, _SCALE)
    mean = statistics.fmean(speed.work(ask) for ask in some)
    count = max(_FEWEST, min(effort.requests, round(effort.seconds * _LOAD / mean)))
    drawn = trace(mix, _SEED, count, effort.seconds, _SCALE)
    return trace(mix, _SEED, count, sum(map(speed.work, drawn)) / _LOAD, _SCALE)


def _outcome(served: Sequence[Served], slo: float) -> Outcome:
    spent = sum(_price(one.ask) for one in served if not one.local)
    return Outcome(sum(one.ttft <= slo for one in served) / len(served), spent)


def _all_to_cloud(asks: Sequence[Ask], seen: Sequence[Served], slo: float) -> Outcome:
    """`seen`: what the cloud answered when it was asked for some of them."""
    if not seen:
        raise BenchError("nothing overflowed: there is nothing to compare")
    return Outcome(sum(one.ttft <= slo for one in seen) / len(seen), sum(map(_price, asks)))


def _price(ask: Ask) -> float:
    """USD."""
    return (_INPUT * ask.prompt + _OUTPUT * ask.answer) / 1e6


def _say(mix: Mix, who: str, outcome: Outcome) -> None:
    log.info("overflow, %s, %s: %.1f %% within the SLO, $%.6f",
             mix, who, 100 * outcome.attained, outcome.spent)  # fmt: skip


def _errors(ledger: Path, mix: Mix) -> list[float]:
    """Of the local answers of Holdfast's own replay, by its ledger."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as book:
        rows = book.execute(
            "SELECT predicted_ttft, ttft FROM entry WHERE asked = ? AND route = 'local'"
            " AND request_id LIKE ? AND ttft > 0 AND predicted_ttft IS NOT NULL",
            (_NAMES.either, f"{mix}-%"),
        ).fetchall()
    if not rows:
        raise BenchError("nothing was answered here whose first token had been predicted")
    return [abs(predicted - actual) / actual for predicted, actual in rows]


def _results(one: Compared, errors: Sequence[float]) -> list[Result]:
    """Spend at equal attainment, with its target; at a hundredth less; the forecasts' error."""
    whole = one.counted[0].spent
    spent, error = Sample((one.ours.spent / whole,)), Sample(tuple(errors))
    results = []
    equal = spent_at(one.ours.attained, one.counted)
    if equal:
        results.append(
            Result("overflow", f"{one.mix}, spend at {one.ours.attained:.1%} in time", _UNIT, spent,
                   {"counts that attain the same": Sample((equal / whole,))},
                   one.ours.spent / equal, "x", SPEND)
        )  # fmt: skip
    near = cheapest(one.ours.attained, one.counted, _SLACK)
    if near is not None and one.counted[near].spent:
        peer = one.counted[near]
        results.append(
            Result("overflow", f"{one.mix}, spend beside {peer.attained:.1%} in time", _UNIT, spent,
                   {f"a count of {near}": Sample((peer.spent / whole,))},
                   one.ours.spent / peer.spent, "x")
        )  # fmt: skip
    if not results:
        raise BenchError("no count attains what Holdfast does, and the cloud does not, either")
    results.append(
        Result("overflow", f"{one.mix}, error of predicted first tokens", "", error, {},
               error.median, "", ERROR)
    )  # fmt: skip
    return results


def _told(one: Compared) -> str:
    whole = one.counted[0].spent
    curve = ", ".join(
        f"{n} {outcome.attained:.1%} {outcome.spent / whole:.2f}"
        for n, outcome in sorted(one.counted.items())
    )
    return (
        f"overflow, {one.mix}: {one.requests} requests, seed {_SEED}, SLO {one.slo:.2f} s; what "
        f"came in time, and spend as a part of all-cloud's: predicted {one.ours.attained:.1%} "
        f"{one.ours.spent / whole:.2f}; by count {curve}"
    )
