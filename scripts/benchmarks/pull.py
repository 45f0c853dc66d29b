"""`holdfast pull` beside `hf download`, from the same hub on loopback (tests/fakes/hub.py).

Both are the commands that people type, started from nothing: what they ask the hub for, look up
and write is in the figure. Holdfast hashes every byte and has it on the disk (fsync) before it
shows it; `hf` does neither, so its figure is given a second time with its files synced.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import repository
from scripts.benchmarks.programs import BenchError, holdfast_command
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample, paired_ratio
from server.units import MIB
from tests.fakes.hub_running import FakeHub, running_hub

log = logging.getLogger("bench")

AS_FAST = Target("at least", 1.0)
REFETCHED = Target("at most", 64.0)
NAME = "bench/model"
_MEMORY = Path("/dev/shm")
_KILLED_AT = 0.9
_TIMEOUT = 900.0


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int
    files: int
    file_bytes: int
    kills: int


FULL = Effort(runs=5, files=20, file_bytes=200_000_000, kills=3)
QUICK = Effort(runs=1, files=20, file_bytes=10_000_000, kills=1)


@dataclass(frozen=True, slots=True)
class Side:
    """A command that downloads `NAME`, and the folder that it fills."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    written: str
    """Glob of the files, below the folder, that hold the weights, whole or not."""

    def arrived(self) -> int:
        """Bytes of weights on the disk: the blocks that their files have, holes left out."""
        total = 0
        for path in self.folder.glob(self.written):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    total += path.stat().st_blocks * 512
        return total


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError."""
    results: list[Result] = []
    notes = [
        f"pull: {effort.files} files of {effort.file_bytes / 1e6:,.0f} MB over 8 connections each; "
        f"{effort.runs} runs; Holdfast hashes and fsyncs, hf does neither"
    ]
    root = work / "hub"
    total = repository.write(root, NAME, files=effort.files, file_bytes=effort.file_bytes)
    with running_hub(root) as hub:
        memory = _memory(2 * total)
        if memory is None:
            notes.append(f"pull: no room in {_MEMORY}, measured on the disk only")
        else:
            try:
                results += _throughput(hub, memory, "in memory", effort, total)
            finally:
                shutil.rmtree(memory)
        results += _throughput(hub, work / "disk", "on the disk", effort, total)
        results.append(_resumed(hub, work / "killed", effort, total))
    return Report({}, tuple(results), tuple(notes))


def _memory(needed: int) -> Path | None:
    """A folder in memory with room for `needed` bytes."""
    try:
        if shutil.disk_usage(_MEMORY).free < needed:
            return None
    except OSError:
        return None
    folder = _MEMORY / f"holdfast-bench-{os.getpid()}"
    folder.mkdir()
    return folder


def _sides(hub: FakeHub, folder: Path) -> dict[str, Side]:
    """Both commands, each with a home of its own below `folder`."""
    ours, theirs = folder / "holdfast", folder / "hf"
    common = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HOME": str(theirs)}
    hf = [str(Path(sys.executable).with_name("hf")), "download", NAME]
    pull = [str(holdfast_command()), "pull", NAME, "--format", "safetensors"]
    return {
        "holdfast": Side(
            pull, {**common, "HOLDFAST_HOME": str(ours)}, ours, "models/**/model-*-of-*"
        ),
        _hf_name(): Side([*hf, "--local-dir", str(theirs / "local")], common, theirs, "local/**/*"),
    }


def _hf_name() -> str:
    return f"hf download {importlib.metadata.version('huggingface-hub')}"


def _throughput(
    hub: FakeHub, folder: Path, where: str, effort: Effort, total: int
) -> Iterator[Result]:
    sides = _sides(hub, folder)
    synced = f"{_hf_name()}, then fsync"
    rates: dict[str, list[float]] = {name: [] for name in [*sides, synced]}
    for run in range(effort.runs):
        for name in _order(list(sides), run):
            side = sides[name]
            with _emptied(side):
                seconds = _seconds(side)
                rates[name].append(total / seconds / 1e6)
                if name != "holdfast":
                    rates[synced].append(total / (seconds + _sync_seconds(side)) / 1e6)
        last = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in rates.items())
        log.info("pull %s, run %d: MB/s %s", where, run + 1, last)
    samples = {name: Sample(tuple(values)) for name, values in rates.items()}
    ours = samples.pop("holdfast")
    ratio = paired_ratio(ours, samples[_hf_name()])
    yield Result("pull", where, "MB/s", ours, samples, ratio, "x", AS_FAST)


def _order(names: list[str], run: int) -> list[str]:
    """Each run starts with another one."""
    first = run % len(names)
    return names[first:] + names[:first]


@contextlib.contextmanager
def _emptied(side: Side) -> Iterator[None]:
    """Nothing there before, nothing there afterwards, and nothing of it still to be written."""
    side.folder.mkdir(parents=True)
    os.sync()
    try:
        yield
    finally:
        shutil.rmtree(side.folder)


def _seconds(side: Side) -> float:
    begun = time.perf_counter()
    _finished(_started(side))
    return time.perf_counter() - begun


def _sync_seconds(side: Side) -> float:
    begun = time.perf_counter()
    for path in side.folder.glob(side.written):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    return time.perf_counter() - begun


def _started(side: Side) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST_", "HF_"))}
    return subprocess.Popen(
        side.argv,
        env={**kept, **side.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finished(process: subprocess.Popen[str]) -> None:
    try:
        _, said = process.communicate(timeout=_TIMEOUT)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise BenchError(f"{process.args!r} ended with {process.returncode}: {said[-2000:]}")


# ---- Resuming ----


def _resumed(hub: FakeHub, folder: Path, effort: Effort, total: int) -> Result:
    refetched: dict[str, list[float]] = {}
    for name, side in _sides(hub, folder).items():
        for _ in range(effort.kills):
            with _emptied(side):
                refetched.setdefault(name, []).append(_refetched(hub, side, total) / MIB)
        log.info("pull, killed at 90 %%: %s fetched %.1f MiB again", name, refetched[name][-1])
    samples = {name: Sample(tuple(values)) for name, values in refetched.items()}
    ours = samples.pop("holdfast")
    case = "fetched again after kill -9 at 90 %"
    return Result("pull", case, "MiB", ours, samples, max(ours.values), "MiB", REFETCHED)


def _refetched(hub: FakeHub, side: Side, total: int) -> int:
    """Bytes that had arrived when it was killed, and that the second run fetched once more."""
    process = _started(side)
    while side.arrived() < total * _KILLED_AT:
        if process.poll() is not None:
            raise BenchError(f"{side.argv[0]} was done before it could be killed")
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    arrived = side.arrived()
    hub.log(clear=True)
    _finished(_started(side))
    sent = sum(int(one["sent"]) for one in hub.log() if one["where"] == "cdn")
    return max(0, sent - (total - arrived))
