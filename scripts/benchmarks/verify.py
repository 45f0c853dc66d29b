"""`holdfast verify` beside `sha256sum` on as many cores, over the same files.

Both are whole commands, from their start to their end. `from memory`: the files lie in the page
cache, so the processors are compared. `from the disk`: they do not, as after months on a shelf;
Holdfast drops cached pages by itself, and for sha256sum they are dropped before it starts.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import subprocess
import time
from collections.abc import Callable, Sequence
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


FULL = Effort(runs=5, files=20, file_bytes=400_000_000)
QUICK = Effort(runs=2, files=6, file_bytes=200_000_000)


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError."""
    home = work / "verified"
    folder = home / "models" / "org" / "large" / _REVISION
    files = _write(folder, effort)
    jobs = len(os.sched_getaffinity(0))
    verify = [str(holdfast_command()), "verify", "--home", str(home), "--jobs", str(jobs)]
    sums = ["xargs", "-P", str(jobs), "-n", "1", "sha256sum"]
    total = effort.files * effort.file_bytes / 1e9
    results = []
    for case, ours, before in (
        ("from memory", [*verify, "--cached"], _read),
        ("from the disk", verify, _drop),
    ):
        pairs = [_pair(run, total, files, ours, sums, before, case) for run in range(effort.runs)]
        holdfast, peer = (Sample(tuple(values)) for values in zip(*pairs, strict=True))
        figure = paired_ratio(holdfast, peer)
        peers = {"sha256sum": peer}
        results.append(Result("verify", case, "GB/s", holdfast, peers, figure, "x", AS_FAST))
    note = (
        f"verify: {effort.files} files, {total:.1f} GB, whole commands on {jobs} cores; "
        f"{effort.runs} runs"
    )
    return Report({}, tuple(results), (note,))


def _pair(
    run: int,
    total: float,
    files: Sequence[Path],
    ours: Sequence[str],
    sums: Sequence[str],
    before: Callable[[Sequence[Path]], None],
    case: str,
) -> tuple[float, float]:
    """GB/s of Holdfast and of sha256sum; who goes first changes from run to run."""
    names = "\n".join(str(path) for path in files)
    rates: dict[str, float] = {}
    tools = [("holdfast", ours, ""), ("sha256sum", sums, names)]
    for name, command, stdin in tools if run % 2 else tools[::-1]:
        before(files)
        rates[name] = total / _seconds(command, stdin)
    log.info(
        "verify %s, run %d: %.2f GB/s, sha256sum %.2f GB/s",
        case, run + 1, rates["holdfast"], rates["sha256sum"],
    )  # fmt: skip
    return rates["holdfast"], rates["sha256sum"]


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
