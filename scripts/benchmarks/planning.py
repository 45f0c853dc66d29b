"""Planning a pull of 400 files, 800 GB: `holdfast pull --dry-run` beside `hf download --dry-run`.

The repository is one of sparse files at a fake hub (tests/fakes/hub.py), which is told their
digests. Each reading is a whole process, from its start to its end.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.programs import BenchError, holdfast_command
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample, paired_ratio
from tests.fakes.hub_running import FakeHub, running_hub

log = logging.getLogger("bench")

SECONDS = Target("at most", 2.0)
MEMORY = Target("at most", 200.0)
_FILES = 400
_BYTES = 800 * 10**9
_NAME = "org/huge"


@dataclass(frozen=True, slots=True)
class Effort:
    runs: int


FULL = Effort(runs=5)
QUICK = Effort(runs=2)


def measure(effort: Effort, work: Path) -> Report:
    """Raises BenchError."""
    _write(work / "planned" / _NAME)
    holdfast = holdfast_command()
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with running_hub(work / "planned") as hub:
        for run in range(effort.runs):
            home = work / f"planning-{run}"
            ours.append(_once(hub, home, [holdfast, "pull", _NAME, "--dry-run", "--home", home]))
            hf = holdfast.with_name("hf")
            theirs.append(_once(hub, home, [hf, "download", _NAME, "--dry-run"]))
            log.info(
                "planning, run %d: %.2f s and %.0f MiB, hf %.2f s and %.0f MiB",
                run + 1, *ours[-1], *theirs[-1],
            )  # fmt: skip
    seconds, memory = (Sample(tuple(values)) for values in zip(*ours, strict=True))
    hf_seconds, hf_memory = (Sample(tuple(values)) for values in zip(*theirs, strict=True))
    case = f"{_FILES} files, {_BYTES // 10**9} GB"
    return Report(
        {},
        (
            Result(
                "planning", case, "s", seconds, {"hf": hf_seconds}, seconds.median, "s", SECONDS
            ),
            Result(
                "planning", "peak memory", "MiB", memory, {"hf": hf_memory},
                max(memory.values), "MiB", MEMORY,
            ),
            Result(
                "planning", "beside hf", "s", seconds, {"hf": hf_seconds},
                paired_ratio(seconds, hf_seconds), "x",
            ),
        ),
        (f"planning: a dry run, a whole process, sparse files at a local hub; {effort.runs} runs",),
    )  # fmt: skip


def _write(folder: Path) -> None:
    """The repository: shards that take no disk, and what a hub says of them."""
    folder.mkdir(parents=True)
    digests = {}
    for number in range(_FILES - 1):
        name = f"model-{number + 1:05d}-of-{_FILES - 1:05d}.safetensors"
        with (folder / name).open("wb") as file:
            file.truncate(_BYTES // (_FILES - 1))
        digests[name] = {"sha256": hashlib.sha256(name.encode()).hexdigest()}
    (folder / "config.json").write_text("{}", encoding="ascii")
    (folder / ".hub.json").write_text(json.dumps({"files": digests}), encoding="ascii")


def _once(hub: FakeHub, home: Path, command: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds from the start of `command` to its end, and the most MiB that it took."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(hub, home),
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode:
        tail = said.decode(errors="replace")[-500:]
        raise BenchError(
            f"{Path(command[0]).name} ended with {process.returncode} and said: {tail}"
        )
    return seconds, used.ru_maxrss / 1024


def _environment(hub: FakeHub, home: Path) -> Mapping[str, str]:
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PYTHON", "HOLDFAST_", "HF_", "MODELSCOPE_"))
    }
    return kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf")}
