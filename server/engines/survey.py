"""What the machine has for engines, with ours taken as if they did not run. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from server.hardware.machine import Process
from server.hardware.probe import probe
from server.planning.device import RAM_ID
from server.planning.rig import Own, Rig, rig
from server.units import GIB

_KIB = 1024
_NAMED = 3
_WORTH_NAMING = GIB
"""Strangers that hold less RAM than this are not what is in the way."""


def survey(home: Path, pids: Iterable[int]) -> Rig:
    """The machine whose disk at `home` counts; `pids`: the first processes of our engines.

    The strangers that hold the most RAM are told, too: only they can give it back.
    """
    ours = [family for pid in pids for family in _family(pid)]
    held = sum(_anonymous(pid) for pid in ours)
    found = rig(probe(home), own=Own({RAM_ID: held}, ours))
    return replace(found, ram=replace(found.ram, used_by=largest(_others(ours))))


def largest(processes: Iterable[Process]) -> tuple[Process, ...]:
    """Those that hold most, where it is worth naming them."""
    held = [one for one in processes if (one.memory or 0) >= _WORTH_NAMING]
    return tuple(sorted(held, key=lambda one: (-(one.memory or 0), one.pid))[:_NAMED])


def _others(ours: Collection[int]) -> Iterator[Process]:
    for process in psutil.process_iter(["pid", "name"]):
        if process.pid not in ours:
            yield Process(process.pid, process.info["name"], _anonymous(process.pid))


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
