"""`holdfast pull` killed again and again at random points, beside a hub that fails at random.

For an hour or a night: what the suite does 200 times with the transfer alone is done here with the
whole command. After every kill the store is looked through: a model that can be seen is whole and
right, byte for byte, and every segment that a journal vouches for is right. Each figure is a count
of what must never happen.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks import repository
from scripts.benchmarks.programs import BenchError, holdfast_command
from scripts.benchmarks.report import Report, Result, Target
from scripts.benchmarks.sample import Sample
from server.units import format_duration
from tests.fakes.hub_repositories import SIDECAR
from tests.fakes.hub_running import FakeHub, running_hub

log = logging.getLogger("bench")

NAME = "bench/soaked"
NEVER = Target("at most", 0.0)
_FILES = 6
_FILE_BYTES = 12_000_000
_RATE = "25MB"
_MEANWHILE = 60.0
"""Seconds between two lines that tell how far it is."""
_TIMEOUT = 300.0
_FAULTS: tuple[Mapping[str, object], ...] = (
    {"kind": "cut"},
    {"kind": "stall", "seconds": 1.0},
    {"kind": "429", "seconds": 1.0},
    {"kind": "500"},
    {"kind": "truncated"},
    {"kind": "wrong-bytes"},
    {"kind": "ignore-range"},
    {"kind": "wrong-range"},
    {"kind": "expired"},
)
_RECORD = re.compile(r"(\d+) ([0-9a-f]{8})")


@dataclass(slots=True)
class Tally:
    kills: int = 0
    finished: int = 0
    failed: int = 0
    """Pulls that ended by themselves without the model: more faults than any patience."""
    wrong: list[str] = field(default_factory=list)
    """What could be seen, or was vouched for, and is not as the hub has it."""
    spoiled: bool = False
    """The hub may have sent wrong bytes of what is in the store now: a journal's crc32 is that of
    the bytes that came, and only the sha256 of the whole file tells."""


def measure(seconds: float, work: Path) -> Report:
    """Kills for `seconds`, and lets the last pull finish. Raises BenchError."""
    root, home = work / "soak-hub", work / "soaked"
    repository.write(root, NAME, files=_FILES, file_bytes=_FILE_BYTES)
    right = {
        path.name: path.read_bytes() for path in (root / NAME).iterdir() if path.name != SIDECAR
    }
    seed = random.SystemRandom().randrange(2**32)
    log.info("soak: %s, seed %d", format_duration(seconds), seed)
    tally = Tally()
    with running_hub(root) as hub:
        _soak(hub, home, right, seconds, random.Random(seed), tally)
        hub.mend()
        if not _pulled(hub, home, None):
            tally.wrong.append("with the hub mended, the last pull did not finish")
        tally.wrong += wrong(home, right, journals=False)
    for one in tally.wrong[:20]:
        log.error("soak: %s", one)
    count = Sample((float(len(tally.wrong)),))
    case = f"{tally.kills} kills, {tally.finished} finished"
    result = Result("soak", case, "wrong", count, {}, count.median, "wrong", NEVER)
    note = f"soak: {tally.failed} pulls gave up on the hub's faults and were run again; seed {seed}"
    return Report({}, (result,), (note,))


def _soak(
    hub: FakeHub,
    home: Path,
    right: Mapping[str, bytes],
    seconds: float,
    chance: random.Random,
    tally: Tally,
) -> None:
    begun = told = time.monotonic()
    longest = sum(map(len, right.values())) / 25e6 + 2.0
    while (now := time.monotonic()) - begun < seconds:
        if now - told >= _MEANWHILE:
            told = now
            log.info("soak: %d kills, %d wrong", tally.kills, len(tally.wrong))
        hub.mend()
        faults = [chance.choice(_FAULTS) for _ in range(chance.randrange(4))]
        hub.faults(*({"match": "-of-", **fault} for fault in faults))
        tally.spoiled |= any(fault["kind"] == "wrong-bytes" for fault in faults)
        ended = _pulled(hub, home, chance.uniform(0.0, longest))
        if ended is None:
            tally.kills += 1
        elif ended:
            tally.finished += 1
        else:
            tally.failed += 1
        tally.wrong += wrong(home, right, journals=not tally.spoiled)
        if ended or tally.wrong:
            shutil.rmtree(home, ignore_errors=True)
            tally.spoiled = False


def _pulled(hub: FakeHub, home: Path, after: float | None) -> bool | None:
    """Whether a pull finished; None: it was killed, `after` seconds. Raises BenchError."""
    command = [str(holdfast_command()), "pull", NAME, "--format", "safetensors"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST_", "HF_"))}
    process = subprocess.Popen(
        [*command, "--limit-rate", _RATE, "--home", str(home)],
        env={**kept, "HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=_TIMEOUT if after is None else after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if "Traceback" in said or process.returncode not in (0, 4, 6):
        raise BenchError(f"holdfast pull ended with {process.returncode}: {said[-2000:]}")
    return process.returncode == 0


def wrong(home: Path, right: Mapping[str, bytes], *, journals: bool) -> list[str]:
    """What in the store is not as it should be; `journals`: what they vouch for as well."""
    models = home / "models"
    found = []
    for folder in models.glob(f"{NAME}/*"):
        for name, content in right.items():
            path = folder / name
            if not path.is_file():
                found.append(f"{name} is missing in a model that can be seen")
            elif path.read_bytes() != content:
                found.append(f"{name} has wrong bytes in a model that can be seen")
    for journal in models.glob(".incoming/**/*.part.journal") if journals else ():
        found += _vouched_wrongly(journal, right)
    return found


def _vouched_wrongly(journal: Path, right: Mapping[str, bytes]) -> list[str]:
    """Segments whose crc32 in the journal is that of the bytes on the disk, and not the hub's."""
    part = journal.with_suffix("")
    content = right.get(part.name.removesuffix(".part"))
    lines = journal.read_text(encoding="utf-8", errors="replace").split("\n")
    if content is None or len(lines) < 3 or not part.exists():
        return []
    if json.loads(lines[0])["bytes"] != len(content):
        return [f"{journal.name} is one of another file"]
    segment = int(lines[1].rpartition(" ")[2])
    written = part.read_bytes()
    found = []
    for match in filter(None, map(_RECORD.fullmatch, lines[2:-1])):
        here = slice(int(match[1]) * segment, (int(match[1]) + 1) * segment)
        if zlib.crc32(written[here]) == int(match[2], 16) and written[here] != content[here]:
            found.append(f"{part.name}: segment {match[1]} is vouched for and wrong")
    return found
