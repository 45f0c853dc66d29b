"""Tokens per second through Holdfast against the very same engine process, asked directly.

Both get streams, greedy and with the end-of-text tokens forbidden, so that every request gives the
same number of tokens. No two prompts are alike: the engine's prompt cache never helps.
"""

from __future__ import annotations

import json
import logging
import os
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks import holdfast, load, random_model
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample, paired_ratio
from server import catalogue, settings
from server.engines.binary import find_llama_server

log = logging.getLogger("bench")

MODEL = "qwen3.5-0.8b"
TARGET = Target("at least", 0.98)
SLOTS = 8
_CONTEXT = 1024
_DIGITS = 64
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int
    tokens: int
    """Of each answer."""
    concurrencies: tuple[int, ...] = (1, 4, 8)


FULL = Effort(runs=5, tokens=48)
QUICK = Effort(runs=1, tokens=16)


def measure(effort: Effort, work: Path, cache: Path) -> Report:
    """Raises BenchError, LoadError, EngineMissing."""
    own = settings.load(os.environ, home=work / "home", configs=())
    program = find_llama_server(own)
    shape = catalogue.load(own).models[MODEL].architecture
    weights = random_model.cached(cache, shape, program.path.resolve().with_name("llama-quantize"))
    home = work / "throughput"
    overlay = holdfast.configuration(
        home / "bench.toml", MODEL, weights, context=_CONTEXT, slots=SLOTS
    )
    environment = {"HOLDFAST_LLAMA_SERVER": str(program.path)}
    with holdfast.serving(home, ("--config", str(overlay)), environment=environment) as served:
        asked = prompts()
        routes: dict[str, load.Address] = {
            "direct": served.engine_socket,
            "holdfast": served.address,
        }
        _batch(served.address, asked, SLOTS, effort.tokens)
        _batch(served.engine_socket, asked, SLOTS, effort.tokens)
        results = tuple(
            _compare(routes, asked, concurrency, effort) for concurrency in effort.concurrencies
        )
    size = weights.stat().st_size / 1e6
    note = (
        f"throughput: random weights in {MODEL}'s exact shape, Q4_K_M ({size:.0f} MB), "
        f"{effort.tokens} tokens per answer, {effort.runs} runs; the result is the median of "
        "each run's ratio"
    )
    return Report({}, results, (note,))


def _compare(
    routes: dict[str, load.Address], asked: Iterator[str], concurrency: int, effort: Effort
) -> Result:
    rates: dict[str, list[float]] = {name: [] for name in routes}
    for run in range(effort.runs):
        seconds = dict.fromkeys(routes, 0.0)
        # There and back. The engine's slots are taken in turn, and one half of them can be a sixth
        # faster than the other (seen with 4 at once): each route gets both halves in each run.
        for name in (*routes, *reversed(routes)):
            seconds[name] += _batch(routes[name], asked, concurrency, effort.tokens)
        for name, took in seconds.items():
            rates[name].append(2 * concurrency * effort.tokens / took)
        last = ", ".join(f"{name} {rate[-1]:.1f}" for name, rate in rates.items())
        log.info("throughput, %d at once, run %d: tokens/s %s", concurrency, run + 1, last)
    through, direct = Sample(tuple(rates["holdfast"])), Sample(tuple(rates["direct"]))
    return Result(
        measurement="throughput",
        case=f"{concurrency} at once",
        unit="tokens/s",
        holdfast=through,
        peers={"direct": direct},
        figure=paired_ratio(through, direct),
        figure_unit="x",
        target=TARGET,
    )


def _batch(address: load.Address, asked: Iterator[str], concurrency: int, tokens: int) -> float:
    """Seconds that `concurrency` requests take that are sent at the same time."""
    requests = [_request(next(asked), tokens) for _ in range(concurrency)]
    answers = load.at_once(address, requests, timeout=_TIMEOUT)
    for answer in answers:
        check(answer.body, tokens)
    begun = min(answer.sent for answer in answers)
    done = max(answer.done for answer in answers)
    return (done - begun) / 1e9


def _request(prompt: str, tokens: int) -> bytes:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "logit_bias": {
            str(random_model.END_OF_TEXT_ID): -100,
            str(random_model.TURN_END_ID): -100,
        },
        "chat_template_kwargs": {"enable_thinking": False},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return load.request("/v1/chat/completions", body)


def check(body: bytes, tokens: int) -> None:
    """Raises LoadError unless the stream ended as it should, with just so many tokens."""
    *events, last = load.events(body) or [b""]
    usage: dict[str, Any] = json.loads(events[-1]).get("usage") or {} if events else {}
    if last != b"[DONE]" or usage.get("completion_tokens") != tokens:
        raise load.LoadError(f"expected {tokens} tokens and [DONE], got {usage} and {last!r}")


def prompts() -> Iterator[str]:
    """Prompts without end, no two alike, and equally long: a digit is a token of its own."""
    chance = random.Random(random_model.SEED)
    while True:
        yield "".join(chance.choices(string.digits, k=_DIGITS))
