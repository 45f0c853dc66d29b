"""`holdfast verify` beside `sha256sum` on as many cores, over the same files.

Where there is `openssl`, it stands beside them for information: many builds of sha256sum do without
the processor's SHA instructions, which Holdfast and openssl use.
Both are whole commands, from their start to their end. `from memory`: the files lie in the page
cache, so the processors are compared. `from the disk`: they do not, as after months on a shelf;
Holdfast drops cached pages by itself, and for sha256sum they are dropped before it starts.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.programs import BenchError, holdfast_command
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample, paired_ratio
from server.store.receipt import Held, Receipt, write_receipt
from server.units import MIB

log = logging.getLogger("bench")

AS_FAST = Target("at least", 0.9)
_REVISION = "0123456789abcdef0123456789abcdef01234567"
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int
    files: int
    file_bytes: int


FULL = Effort(runs=3, files=20, file_bytes=400_000_000)
QUICK = Effort(runs=2, files=6, file_bytes=200_000_000)


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError."""
    home = work / "verified"
    folder = home / "models" / "org" / "large" / _REVISION
    files = _write(folder, effort)
    jobs = len(os.sched_getaffinity(0))
    verify = [str(holdfast_command()), "verify", "--home", str(home), "--jobs", str(jobs)]
    parallel = ["xargs", "-P", str(jobs), "-n", "1"]
    peers = {"sha256sum": [*parallel, "sha256sum"]}
    if shutil.which("openssl"):
        peers["openssl"] = [*parallel, "openssl", "dgst", "-sha256"]
    total = effort.files * effort.file_bytes / 1e9
    results = []
    for case, ours, before in (
        ("from memory", [*verify, "--cached"], _read),
        ("from the disk", verify, _drop),
    ):
        tools = {"holdfast": ours, **peers}
        rounds = [_round(run, total, files, tools, before, case) for run in range(effort.runs)]
        samples = {name: Sample(tuple(one[name] for one in rounds)) for name in tools}
        holdfast = samples.pop("holdfast")
        figure = paired_ratio(holdfast, samples["sha256sum"])
        results.append(Result("verify", case, "GB/s", holdfast, samples, figure, "x", AS_FAST))
    note = (
        f"verify: {effort.files} files, {total:.1f} GB, whole commands on {jobs} cores; "
        f"{effort.runs} runs"
    )
    return Report({}, tuple(results), (note,))


def _round(
    run: int,
    total: float,
    files: Sequence[Path],
    tools: Mapping[str, Sequence[str]],
    before: Callable[[Sequence[Path]], None],
    case: str,
) -> dict[str, float]:
    """GB/s of each tool; who goes first changes from run to run."""
    names = "\n".join(str(path) for path in files)
    rates: dict[str, float] = {}
    for name in tools if run % 2 else reversed(list(tools)):
        before(files)
        rates[name] = total / _seconds(tools[name], "" if name == "holdfast" else names)
    told = ", ".join(f"{name} {rates[name]:.2f} GB/s" for name in tools)
    log.info("verify %s, run %d: %s", case, run + 1, told)
    return rates


def _seconds(command: Sequence[str], stdin: str) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise BenchError(f"{command[0]} failed and said: {done.stderr.strip()[-500:]}")
    return seconds


def _write(folder: Path, effort: Effort) -> list[Path]:
    """Files of noise, flushed, with their receipt."""
    folder.mkdir(parents=True)
    noise = os.urandom(MIB)
    held = []
    for number in range(effort.files):
        path = folder / f"model-{number + 1:05d}.gguf"
        digest = hashlib.sha256()
        left = effort.file_bytes
        with path.open("wb") as file:
            while left:
                piece = (number.to_bytes(8, "little") + noise)[: min(left, MIB)]
                digest.update(piece)
                left -= file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        held.append(Held(path.name, effort.file_bytes, digest.hexdigest()))
    now = datetime.datetime.now(datetime.UTC)
    write_receipt(folder, Receipt("org/large", _REVISION, "the benchmark", now, tuple(held)))
    return [folder / one.path for one in held]


def _read(files: Sequence[Path]) -> None:
    """Into the page cache."""
    buffer = bytearray(MIB)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _drop(files: Sequence[Path]) -> None:
    """Out of the page cache."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
