"""The processor: cpuinfo, lists of processors, quotas, and what they leave to an engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.hardware import cpu
from server.hardware.machine import NumaNode

WriteFile = Callable[[str, str], None]

RYZEN = """\
processor\t: 0
model name\t: AMD  Ryzen 9   7950X
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse4_2 avx f16c fma bmi2 avx2 avx512f avx512_vnni avx512vbmi amx_tile

processor\t: 1
model name\t: AMD  Ryzen 9   7950X
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse4_2 avx f16c fma bmi2 avx2 avx512f avx512_vnni avx512vbmi amx_tile
"""
GRACE = """\
processor\t: 0
BogoMIPS\t: 2000.00
Features\t: fp asimd aes fphp asimdhp asimddp sve sve2 i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd4f

processor\t: 1
Features\t: fp asimd aes fphp asimdhp asimddp sve sve2 i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd4f
"""


def test_x86() -> None:
    info = cpu.parse_cpuinfo(RYZEN)
    assert info.model == "AMD Ryzen 9 7950X"
    assert info.logical == 2
    assert info.cores == {0: (0, 0), 1: (0, 0)}
    assert info.instructions == (
        "sse4_2", "avx", "f16c", "fma", "bmi2", "avx2", "avx512f", "avx512_vbmi", "avx512_vnni",
        "amx_tile",
    )  # fmt: skip


def test_arm() -> None:
    info = cpu.parse_cpuinfo(GRACE)
    assert info.model == "ARM (implementer 0x41, part 0xd4f)"
    assert info.logical == 2
    assert info.cores == {}
    assert info.instructions == ("neon", "fp16", "dotprod", "i8mm", "bf16", "sve", "sve2")


def test_raspberry_pi_names_its_model_in_a_block_of_its_own() -> None:
    text = "processor\t: 0\nFeatures\t: asimd\n\nModel\t\t: Raspberry Pi 5\n"
    assert cpu.parse_cpuinfo(text).model == "Raspberry Pi 5"


@given(st.text())
def test_any_text_parses(text: str) -> None:
    cpu.parse_cpuinfo(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0-1,8,10-11\n", (0, 1, 8, 10, 11))],
)
def test_lists(text: str, expected: tuple[int, ...]) -> None:
    assert cpu.parse_list(text) == expected


@given(st.sets(st.integers(0, 300)))
def test_lists_come_back_whatever_their_ranges(numbers: set[int]) -> None:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    text = ",".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)
    assert cpu.parse_list(text) == tuple(sorted(numbers))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("", None),
        ("200000", None),
        ("200000 0", None),
    ],
)
def test_quota(text: str, expected: float | None) -> None:
    assert cpu.parse_quota(text) == expected


SMT = {number: (0, number % 4) for number in range(8)}  # 4 cores, 8 threads


@pytest.mark.parametrize(
    ("allowed", "quotas", "usable", "cores"),
    [
        (tuple(range(8)), [], 8, 4),
        ((0, 4), [], 2, 1),  # two threads of one core
        ((0, 1), [], 2, 2),
        (tuple(range(8)), [(3.5, "a")], 3, 3),
        (tuple(range(8)), [(6.0, "a"), (2.0, "b")], 2, 2),  # the tightest level counts
        (tuple(range(8)), [(0.25, "a")], 1, 1),
        ((3,), [(16.0, "a")], 1, 1),
        ((), [], 8, 4),  # no mask told: all of them
    ],
)
def test_what_is_usable(
    allowed: tuple[int, ...], quotas: list[tuple[float, str]], usable: int, cores: int
) -> None:
    info = cpu.CpuInfo("x", SMT, 8, ())
    decided = cpu.decide(info, allowed, quotas, (), "x86_64")
    assert (decided.logical, decided.physical) == (8, 4)
    assert (decided.usable, decided.usable_cores) == (usable, cores)


def test_reading_a_machine(root: Path, write_file: WriteFile) -> None:
    write_file("proc/self/status", "Cpus_allowed_list:\t0-3,8-11\n")
    write_file("sys/fs/cgroup/user.slice/cpu.max", "600000 100000\n")
    write_file("sys/fs/cgroup/user.slice/session.scope/cpu.max", "max 100000\n")
    for node, cpus in enumerate(("0-7", "8-15")):
        folder = f"sys/devices/system/node/node{node}"
        write_file(f"{folder}/cpulist", f"{cpus}\n")
        write_file(f"{folder}/meminfo", f"Node {node} MemTotal: 32 kB\nNode {node} MemFree: 8 kB\n")
    found = cpu.read(root)
    assert (found.logical, found.physical) == (16, 8)
    assert found.allowed == (0, 1, 2, 3, 8, 9, 10, 11)
    assert (found.quota, found.quota_source) == (6.0, "/sys/fs/cgroup/user.slice/cpu.max")
    assert (found.usable, found.usable_cores) == (6, 4)
    assert found.numa == (
        NumaNode(0, tuple(range(8)), 32768, 8192),
        NumaNode(1, tuple(range(8, 16)), 32768, 8192),
    )


def test_quota_of_version_1(root: Path, write_file: WriteFile) -> None:
    write_file("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n0::/\n")
    write_file(
        "proc/self/mountinfo",
        "31 23 0:28 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    )
    write_file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n")
    write_file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    found = cpu.read(root)
    assert (found.quota, found.quota_source) == (2.5, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")


def test_this_machine() -> None:
    """The figures of the kernel's files are those that the C library and psutil give."""
    import psutil

    found, without_files = cpu.read(), cpu.from_system()
    assert set(found.allowed) == os.sched_getaffinity(0) == set(without_files.allowed)
    assert found.logical == os.cpu_count() == without_files.logical
    assert found.physical == (psutil.cpu_count(logical=False) or found.logical)
    assert 1 <= found.usable_cores <= found.usable <= found.logical
