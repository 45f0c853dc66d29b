"""A thousand streams at once: how much longer through Holdfast, and how much memory.

Each has 300 events 20 ms apart, and every one of them is looked for in what arrives.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import load
from scripts.benchmarks.overhead import MODEL, upstream_served
from scripts.benchmarks.programs import BenchError, free_port
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample, paired_ratio
from server.units import KIB, MIB

log = logging.getLogger("bench")

TIME = Target("at most", 1.2)
MEMORY = Target("at most", 256)
"""KiB of Holdfast's memory for each stream at the peak; an event has a quarter of one."""
GROWTH = Target("at most", 1.1)
"""The last run's peak of memory against the second one's: the first fills the pools, and after
that no run may leave anything behind."""
INTERVAL = 0.02
_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int
    streams: int
    events: int


FULL = Effort(runs=5, streams=1000, events=300)
QUICK = Effort(runs=3, streams=200, events=50)


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError, LoadError."""
    port = free_port()
    home = work / "streams"
    with upstream_served(
        home, tcp_port=port, slots=effort.streams, pinned=False, interval=INTERVAL
    ) as served:
        pid = served.program.process.pid
        routes: dict[str, load.Address] = {
            "direct": ("127.0.0.1", port),
            "holdfast": served.address,
        }
        times: dict[str, list[float]] = {name: [] for name in routes}
        resident = memory(pid)["VmRSS"]
        peaks: list[float] = []
        for run in range(effort.runs):
            for name in sorted(routes, reverse=run % 2 == 1):
                forget_peak(pid)
                times[name].append(_all_at_once(routes[name], effort))
                if name == "holdfast":
                    peaks.append(memory(pid)["VmHWM"])
            last = ", ".join(f"{name} {took[-1]:.2f}" for name, took in times.items())
            peak = peaks[-1] / MIB
            log.info("streams, run %d: seconds %s; peak memory %.0f MiB", run + 1, last, peak)
    results = _results(effort, times, resident, peaks)
    note = (
        f"streams: {effort.streams:,} with {effort.events} events {INTERVAL * 1000:.0f} ms apart, "
        f"each event counted, {effort.runs} runs; Holdfast's memory before the first: "
        f"{resident / MIB:.0f} MiB"
    )
    return Report({}, tuple(results), (note,))


def _results(
    effort: Effort, times: dict[str, list[float]], resident: float, peaks: list[float]
) -> Iterator[Result]:
    through, direct = Sample(tuple(times["holdfast"])), Sample(tuple(times["direct"]))
    case = f"{effort.streams:,} x {effort.events} events"
    ratio = paired_ratio(through, direct)
    yield Result("streams", case, "s", through, {"direct": direct}, ratio, "x", TIME)
    peak = Sample(tuple(one / MIB for one in peaks))
    each = (max(peaks) - resident) / KIB / effort.streams
    yield Result("streams", "peak memory", "MiB", peak, {}, each, "KiB each", MEMORY)
    growth = peaks[-1] / peaks[1]
    yield Result("streams", "last peak to second", "MiB", peak, {}, growth, "x", GROWTH)


def _all_at_once(address: load.Address, effort: Effort) -> float:
    """Seconds from the first request's first byte to the last stream's last one."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": effort.events,
        "stream": True,
    }
    requests = [load.request("/v1/chat/completions", body)] * effort.streams
    answers = load.at_once(address, requests, timeout=_TIMEOUT)
    for answer in answers:
        check(answer.body, effort.events)
    return (max(answer.done for answer in answers) - min(answer.sent for answer in answers)) / 1e9


def check(body: bytes, count: int) -> None:
    """Raises LoadError unless the texts "0 " to "`count` - 1 " came in order, and [DONE] last."""
    *data, last = load.events(body) or [b""]
    choices = [choice for event in data for choice in json.loads(event)["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    if last != b"[DONE]" or text != "".join(f"{index} " for index in range(count)):
        raise load.LoadError(f"a stream of {count} events came as {len(data)}, ending in {last!r}")


def memory(pid: int) -> dict[str, int]:
    """Bytes by name, from /proc/PID/status: VmRSS what is resident now, VmHWM the most so far."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return {name: int(kib) * KIB for name, kib in re.findall(r"^(Vm\w+):\s+(\d+) kB$", text, re.M)}


def forget_peak(pid: int) -> None:
    """Let VmHWM start anew from what is resident now; proc(5)."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        raise BenchError(f"the peak of memory cannot be reset: {error.strerror}") from error
