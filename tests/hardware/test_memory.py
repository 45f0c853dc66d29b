"""RAM: meminfo and the limits of every control group above this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.hardware import memory
from server.hardware.memory import GroupLimit

GIB = 2**30
UNLIMITED = 9223372036854771712  # what version 1 writes for "no limit"
WriteFile = Callable[[str, str], None]


def test_meminfo() -> None:
    text = (
        "MemTotal:  64 kB\nMemAvailable: 32 kB\nHugePages_Total:  3\nbroken\nNode 0 MemFree: 1 kB"
    )
    assert memory.parse_meminfo(text) == {
        "MemTotal": 65536,
        "MemAvailable": 32768,
        "HugePages_Total": 3,
        "MemFree": 1024,
    }


@given(st.text())
def test_any_meminfo_parses(text: str) -> None:
    memory.parse_meminfo(text)
    memory.parse_reclaimable(text)


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ("", 0),
        ("anon 5\nfile 9\ninactive_file 100\nactive_file 20\nslab_reclaimable 3\n", 123),
        ("inactive_file 1\ntotal_inactive_file 40\ntotal_active_file 2\n", 42),
    ],
)
def test_reclaimable(stat: str, expected: int) -> None:
    assert memory.parse_reclaimable(stat) == expected


@pytest.mark.parametrize(
    ("groups", "available", "limit"),
    [
        ([], 50, None),
        ([("a", UNLIMITED, GIB, 0)], 50, None),
        ([("a", 64 * GIB, 0, 0)], 50, None),  # a limit as large as the machine is none
        ([("a", 16 * GIB, 4 * GIB, 0)], 12, 16),
        ([("a", 16 * GIB, 15 * GIB, 12 * GIB)], 13, 16),  # a model in the page cache is no loss
        ([("inner", 32 * GIB, 0, 0), ("outer", 20 * GIB, 18 * GIB, 0)], 2, 20),
        ([("inner", 8 * GIB, 0, 0), ("outer", 20 * GIB, 18 * GIB, 0)], 2, 8),
        ([("a", 4 * GIB, 6 * GIB, 0)], 0, 4),  # over its limit, never below nothing
    ],
)
def test_decide(groups: list[tuple[str, int, int, int]], available: int, limit: int | None) -> None:
    sizes = {"MemTotal": 64 * GIB, "MemAvailable": 50 * GIB, "SwapTotal": 8, "SwapFree": 7}
    decided = memory.decide(sizes, tuple(GroupLimit(*group) for group in groups))
    assert decided.total == 64 * GIB
    assert decided.available == available * GIB
    assert decided.limit == (None if limit is None else limit * GIB)
    assert (decided.limit_source is None) == (limit is None)
    assert (decided.swap_total, decided.swap_free) == (8, 7)


def test_old_kernels_do_not_tell_what_is_available() -> None:
    sizes = {"MemTotal": 100, "MemFree": 10, "Buffers": 5, "Cached": 20}
    assert memory.decide(sizes, ()).available == 35


def test_limits_of_version_2_up_the_tree(root: Path, write_file: WriteFile) -> None:
    inner = "sys/fs/cgroup/user.slice/session.scope"
    write_file(f"{inner}/memory.max", "max\n")
    write_file(f"{inner}/memory.high", "max\n")
    write_file("sys/fs/cgroup/user.slice/memory.max", f"{16 * GIB}\n")
    write_file("sys/fs/cgroup/user.slice/memory.high", f"{12 * GIB}\n")
    write_file("sys/fs/cgroup/user.slice/memory.current", f"{5 * GIB}\n")
    write_file("sys/fs/cgroup/user.slice/memory.stat", f"active_file {2 * GIB}\n")
    found = memory.read(root)
    assert found.total == 64 * GIB
    assert found.limit == 12 * GIB
    assert found.limit_source == "/sys/fs/cgroup/user.slice/memory.high"
    assert found.available == 9 * GIB


def test_limits_of_version_1_beside_an_empty_unified_tree(
    root: Path, write_file: WriteFile
) -> None:
    write_file("proc/self/cgroup", "4:memory:/box/inner\n0::/\n")
    write_file(
        "proc/self/mountinfo",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    )
    base = "sys/fs/cgroup/memory"
    for folder, limit in (("box/inner", UNLIMITED), ("box", 8 * GIB), ("", UNLIMITED)):
        write_file(f"{base}/{folder}/memory.limit_in_bytes", f"{limit}\n")
        write_file(f"{base}/{folder}/memory.usage_in_bytes", f"{3 * GIB}\n")
        write_file(f"{base}/{folder}/memory.stat", f"total_inactive_file {GIB}\n")
    found = memory.read(root)
    assert (found.limit, found.available) == (8 * GIB, 6 * GIB)
    assert found.limit_source == "/sys/fs/cgroup/memory/box/memory.limit_in_bytes"


def test_this_machine() -> None:
    import psutil

    found, without_files = memory.read(), memory.from_system()
    assert found.total == psutil.virtual_memory().total
    assert 0 < found.available <= found.total
    assert 0 < without_files.available <= without_files.total
