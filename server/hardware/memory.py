"""RAM that this process may use: /proc/meminfo, cut by every control group above it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from server.hardware import cgroup
from server.hardware.machine import Memory


@dataclass(frozen=True, slots=True)
class GroupLimit:
    """The memory figures of one control group, in bytes."""

    source: str
    limit: int
    usage: int
    reclaimable: int
    """Page cache and slab that the kernel gives back under pressure."""

    @property
    def available(self) -> int:
        return max(0, self.limit - self.usage + self.reclaimable)


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo (or a NUMA node's) -> {name: bytes}."""
    sizes = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            sizes[name.split()[-1]] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return sizes


def decide(meminfo: dict[str, int], groups: tuple[GroupLimit, ...]) -> Memory:
    """Memory from the machine's figures and the limits of the groups (any order).

    A limit at or above the machine's RAM limits nothing (version 1 writes "none" as 2^63 less a
    page). Kernels before 3.14 lack MemAvailable: free + cache stands in for it.
    """
    total = meminfo.get("MemTotal", 0)
    available = meminfo.get("MemAvailable")
    if available is None:
        available = sum(meminfo.get(key, 0) for key in ("MemFree", "Buffers", "Cached"))
    real = [group for group in groups if group.limit < total]
    tightest = min(real, key=lambda group: group.limit, default=None)
    return Memory(
        total=total,
        available=min([available, *(group.available for group in real)]),
        limit=tightest.limit if tightest else None,
        limit_source=tightest.source if tightest else None,
        swap_total=meminfo.get("SwapTotal", 0),
        swap_free=meminfo.get("SwapFree", 0),
    )


def read(root: Path = Path("/")) -> Memory:
    """The memory of the system whose /proc and /sys stand under `root`. Raises OSError."""
    meminfo = parse_meminfo((root / "proc/meminfo").read_text())
    return decide(meminfo, _groups(root))


def from_system() -> Memory:
    """What sysinfo(2) tells, for a sandbox that hides /proc/meminfo (systemd ProcSubset=pid)."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    return decide({"MemTotal": total, "MemAvailable": free}, ())


def _groups(root: Path) -> tuple[GroupLimit, ...]:
    try:
        membership = (root / "proc/self/cgroup").read_text()
        mounts = cgroup.parse_mounts((root / "proc/self/mountinfo").read_text())
    except OSError:
        return ()
    found = (_group(root, folder) for folder in cgroup.folders("memory", membership, mounts))
    return tuple(group for group in found if group)


def _group(root: Path, folder: str) -> GroupLimit | None:
    """A group's limit, or None where it sets none. `memory.high` slows down, which is as bad."""
    here = root / folder.lstrip("/")
    limits = [
        (value, name)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        if (value := cgroup.read_number(here / name)) is not None
    ]
    if not limits:
        return None
    limit, name = min(limits)
    usage = cgroup.read_number(here / "memory.current")
    if usage is None:
        usage = cgroup.read_number(here / "memory.usage_in_bytes")
    try:
        reclaimable = parse_reclaimable((here / "memory.stat").read_text())
    except OSError:
        reclaimable = 0
    return GroupLimit(f"{folder}/{name}", limit, usage or 0, reclaimable)


def parse_reclaimable(stat: str) -> int:
    """memory.stat -> bytes of file cache and slab that can be reclaimed, as MemAvailable counts.

    The whole file cache counts, the active part too: weights that are mapped or were just read
    are there, and a model would otherwise seem not to fit beside its own pages. Version 1 has the
    figures of the whole subtree under `total_` names, version 2 has only those of the subtree.
    """
    words = (line.split() for line in stat.splitlines())
    values = {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdecimal()}
    return sum(
        values.get(f"total_{name}", values.get(name, 0))
        for name in ("inactive_file", "active_file", "slab_reclaimable")
    )
