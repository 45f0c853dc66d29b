"""What Holdfast adds to a small request, and how many it passes on with one core.

The upstream answers at once (tests/fakes/static_engine.py), so that nothing but what lies before
it counts. Holdfast, with authentication on, and LiteLLM have the same core, one at a time; the
upstream and the load share the next one.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.benchmarks import holdfast, litellm_proxy, load, random_model
from scripts.benchmarks.machine import cores
from scripts.benchmarks.programs import BenchError, free_port
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample, paired_difference, percentile
from server import catalogue
from server.settings import Settings
from tests.fakes import static_engine

log = logging.getLogger("bench")

MODEL = "demo"
ADDED_MS = Target("at most", 0.8)
RATE = Target("at least", 3000)
CONCURRENCY = 32
_SLOTS = 64
_CONTEXT = 1024
_TIMEOUT = 120.0
_SLOWER = 20
"""How many times fewer requests LiteLLM gets, so that it takes about as long."""
_LITELLM = f"LiteLLM {litellm_proxy.VERSION}"


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int
    requests: int
    """Of one run at concurrency 1."""
    burst: int
    """Of one run at concurrency 32."""


FULL = Effort(runs=7, requests=1000, burst=20_000)
QUICK = Effort(runs=2, requests=200, burst=2000)


@dataclass(frozen=True, slots=True)
class Route:
    address: load.Address
    request: bytes
    process: psutil.Process | None = None
    """What answers there, where it is a program before the upstream."""
    share: int = 1
    """It gets one of so many requests."""

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far; 0 for the upstream itself."""
        if self.process is None:
            return 0.0
        used = self.process.cpu_times()
        return float(used.user + used.system)


def measure(effort: Effort, work: Path, cache: Path) -> Report:
    """Raises BenchError, LoadError."""
    notes = [
        "overhead: authentication, routing, limits, ledger and metrics on; Holdfast on one core; "
        f"{effort.runs} runs of {effort.requests:,} requests one after the other and "
        f"{effort.burst:,} at {CONCURRENCY} at once"
    ]
    with contextlib.ExitStack() as held:
        port = free_port()
        key, served = held.enter_context(_holdfast(work / "overhead", port))
        routes = {
            "direct": Route(("127.0.0.1", port), _request(MODEL)),
            "holdfast": Route(
                served.address, _request(MODEL, key), psutil.Process(served.program.process.pid)
            ),
        }
        try:
            command = litellm_proxy.install(cache)
            proxy = held.enter_context(
                litellm_proxy.proxying(command, port, work, core=cores()["holdfast"])
            )
            request = _request(litellm_proxy.MODEL, litellm_proxy.KEY)
            process = psutil.Process(proxy.program.process.pid)
            routes[_LITELLM] = Route(proxy.address, request, process, _SLOWER)
        except BenchError as error:
            notes.append(f"without LiteLLM: {error}")
        results = (*_latency(routes, effort), *_rate(routes, effort))
    return Report({}, results, tuple(notes))


@contextlib.contextmanager
def _holdfast(home: Path, port: int) -> Iterator[tuple[str, holdfast.Holdfast]]:
    """Holdfast, an API key of it, and its upstream, which listens on `port` as well."""
    with upstream_served(home, tcp_port=port, slots=_SLOTS, pinned=True) as served:
        yield holdfast.create_key(home), served


@contextlib.contextmanager
def upstream_served(
    home: Path, *, tcp_port: int, slots: int, pinned: bool, interval: float = 0.0
) -> Iterator[holdfast.Holdfast]:
    """A Holdfast that takes the static upstream for its llama-server."""
    home.mkdir(parents=True)
    shape = catalogue.load(Settings(home, ())).models[MODEL].architecture
    weights = home / "model.gguf"  # read for its header only
    random_model.write(weights, shape)
    overlay = holdfast.configuration(
        home / "bench.toml", MODEL, weights, context=_CONTEXT, slots=slots
    )
    place = cores() if pinned else {}
    program = static_engine.wrapper(
        home / "llama-server", interval=interval, tcp_port=tcp_port, core=place.get("upstream")
    )
    with holdfast.serving(
        home,
        ("--config", str(overlay)),
        environment={"HOLDFAST_LLAMA_SERVER": str(program)},
        core=place.get("holdfast"),
    ) as served:
        yield served


def _request(model: str, key: str | None = None) -> bytes:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    body = {"model": model, "messages": messages, "max_tokens": 16, "temperature": 0}
    return load.request("/v1/chat/completions", body, key=key)


def _latency(routes: Mapping[str, Route], effort: Effort) -> Iterator[Result]:
    medians: dict[str, list[float]] = {name: [] for name in routes}
    tails: dict[str, list[float]] = {name: [] for name in routes}
    for run in range(effort.runs):
        for name, route in _order(routes, run):
            count = max(20, effort.requests // route.share)
            _, latencies = _load(route, count, 1)
            medians[name].append(percentile(latencies, 0.5) * 1000)
            tails[name].append(percentile(latencies, 0.99) * 1000)
        last = ", ".join(f"{name} {ms[-1]:.3f}" for name, ms in medians.items())
        log.info("overhead, one at a time, run %d: median ms %s", run + 1, last)
    for case, values, target in (("median", medians, ADDED_MS), ("99th percentile", tails, None)):
        samples = {name: Sample(tuple(ms)) for name, ms in values.items()}
        through = samples.pop("holdfast")
        added = paired_difference(through, samples["direct"])
        yield Result(
            "overhead", f"latency, {case}", "ms", through, samples, added, "ms added", target
        )


def _rate(routes: Mapping[str, Route], effort: Effort) -> Iterator[Result]:
    rates: dict[str, list[float]] = {name: [] for name in routes}
    costs: dict[str, list[float]] = {name: [] for name in routes if name != "direct"}
    for run in range(effort.runs):
        for name, route in _order(routes, run):
            count = effort.burst // route.share
            before = route.cpu_seconds()
            seconds, _ = _load(route, count, CONCURRENCY)
            rates[name].append(count / seconds)
            if name in costs:
                costs[name].append((route.cpu_seconds() - before) / count * 1e6)
        last = ", ".join(f"{name} {rate[-1]:,.0f}" for name, rate in rates.items())
        log.info("overhead, %d at once, run %d: requests/s %s", CONCURRENCY, run + 1, last)
    for case, unit, values, target in (
        (f"{CONCURRENCY} at once, one core", "requests/s", rates, RATE),
        ("processor time of each", "us", costs, None),
    ):
        samples = {name: Sample(tuple(readings)) for name, readings in values.items()}
        through = samples.pop("holdfast")
        per = unit
        yield Result("overhead", case, unit, through, samples, through.median, per, target)


def _order(routes: Mapping[str, Route], run: int) -> list[tuple[str, Route]]:
    """Each run starts with another one."""
    items = list(routes.items())
    first = run % len(items)
    return items[first:] + items[:first]


def _load(route: Route, count: int, concurrency: int) -> tuple[float, list[float]]:
    return load.repeat(
        route.address, route.request, count=count, concurrency=concurrency, timeout=_TIMEOUT
    )
