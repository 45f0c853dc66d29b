"""What a figure depends on besides the program: processor, cores, versions, how busy it was.

Nothing here names the machine or a path on it, so that a record can be published.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import server

_OURS = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
_PACKAGES = ("uvicorn", "uvloop", "httptools", "aiohttp", "orjson")


def describe(**more_versions: str) -> dict[str, Any]:
    """The `machine` of a report; `more_versions` are of programs that took part."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {
            "holdfast": server.__version__,
            "python": platform.python_version(),
            **packages,
            **more_versions,
        },
    }


class Others:
    """How much of the processors' time other programs, and other guests of the host, take."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._taken = self._so_far()

    def share(self) -> float:
        """Since the object was made: 0 to 1, where 1 is every core all the time.

        To be asked once the programs under test have ended: the kernel adds their time up then.
        """
        available = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        return max(0.0, self._so_far() - self._taken) / available

    @staticmethod
    def _so_far() -> float:
        stat = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        ours = [resource.getrusage(who) for who in _OURS]
        return busy_seconds(stat) - sum(used.ru_utime + used.ru_stime for used in ours)


def busy_seconds(stat: str) -> float:
    """Seconds of all processors that were not idle: the first line of /proc/stat, proc(5)."""
    user, nice, system, _, _, irq, softirq, steal = (int(part) for part in stat.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_model(cpuinfo: str) -> str:
    """The processor's name out of /proc/cpuinfo, the architecture where it has none (on ARM)."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def cores() -> Mapping[str, int]:
    """Which core each part of a pinned measurement runs on.

    What is measured has one to itself. With two cores the load and what answers it share the
    other one: together they cost less than Holdfast does.
    """
    usable = sorted(os.sched_getaffinity(0))
    return {
        "holdfast": usable[0],
        "upstream": usable[1 % len(usable)],
        "load": usable[2] if len(usable) > 2 else usable[1 % len(usable)],
    }
