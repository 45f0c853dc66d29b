"""What the machine has for engines, with ours taken as if they did not run. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

from server.hardware.probe import probe
from server.planning.device import RAM_ID
from server.planning.rig import Own, Rig, rig

_KIB = 1024


def survey(home: Path, pids: Iterable[int]) -> Rig:
    """The machine whose disk at `home` counts; `pids`: the first processes of our engines."""
    ours = [family for pid in pids for family in _family(pid)]
    held = sum(_anonymous(pid) for pid in ours)
    return rig(probe(home), own=Own({RAM_ID: held}, ours))


def _family(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def _anonymous(pid: int) -> int:
    """Bytes of RAM that are no pages of files: those count as available anyway."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = (line.split() for line in status.splitlines() if line.startswith("RssAnon:"))
    return sum(int(words[1]) * _KIB for words in found)
