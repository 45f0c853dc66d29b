"""How often the kernel has killed a process of ours for want of memory.

Every kind of OOM killer counts, that of a control group's own limit and that of the whole machine
(kernel, Documentation/admin-guide/cgroup-v2, `memory.events`; version 1 has the same number in
`memory.oom_control`). Engines are in the same control group as Holdfast.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from server.hardware import cgroup


def oom_kills(root: Path = Path("/")) -> int | None:
    """Processes killed so far in the innermost control group of this process that tells, else on
    the whole machine; None: nobody tells. `root`: where /proc and /sys stand."""
    for path in _tellers(root):
        try:
            lines = (root / path.lstrip("/")).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, number = line.partition(" ")
            if name == "oom_kill" and number.isdecimal():
                return int(number)
    return None


def _tellers(root: Path) -> Iterator[str]:
    try:
        membership = (root / "proc/self/cgroup").read_text()
        mounts = cgroup.parse_mounts((root / "proc/self/mountinfo").read_text())
    except OSError:
        membership, mounts = "", ()
    for folder in cgroup.folders("memory", membership, mounts):
        yield f"{folder}/memory.events"
        yield f"{folder}/memory.oom_control"
    yield "/proc/vmstat"
