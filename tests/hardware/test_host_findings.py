"""What processor, memory and disk mean for serving."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.hardware import host_findings
from server.hardware.machine import Cpu, Disk, Memory

GIB = 2**30
CPU = Cpu("x", "x86_64", 8, 4, tuple(range(8)), None, None, 8, 4, ("avx", "avx2"), ())
MEMORY = Memory(64 * GIB, 50 * GIB, None, None, 0, 0)
DISK = Disk("/home/x", "/", "ext4", "/dev/nvme0n1p2", 900 * GIB, 500 * GIB, "nvme", True)


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        (CPU, []),
        (replace(CPU, instructions=("avx",)), [("warning", "no AVX2")]),
        (replace(CPU, instructions=()), []),  # not told is not absent
        (replace(CPU, architecture="aarch64", instructions=("neon",)), []),
        (
            replace(CPU, quota=1.5, quota_source="/x/cpu.max", usable=1, usable_cores=1),
            [("note", "grants 1.5 of 8 processors (/x/cpu.max)")],
        ),
        (replace(CPU, quota=64.0, quota_source="/x/cpu.max"), []),
        (replace(CPU, allowed=(0, 1)), [("note", "may run on 2 of 8 processors")]),
    ],
)
def test_cpu(cpu: Cpu, expected: list[tuple[str, str]]) -> None:
    found = list(host_findings.of_cpu(cpu))
    assert [finding.severity for finding in found] == [severity for severity, _ in expected]
    assert all(what in finding.what for finding, (_, what) in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (MEMORY, []),
        (replace(MEMORY, available=4 * GIB - 1), ["note"]),
        (replace(MEMORY, available=512 * 2**20), ["note"]),
        (replace(MEMORY, available=512 * 2**20 - 1), ["error"]),
        (replace(MEMORY, limit=16 * GIB, limit_source="/x/memory.max"), ["note"]),
    ],
)
def test_memory(memory: Memory, expected: list[str]) -> None:
    assert [finding.severity for finding in host_findings.of_memory(memory)] == expected


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (DISK, []),
        (replace(DISK, kind="virtual"), []),
        (replace(DISK, free=20 * GIB - 1), ["note"]),
        (replace(DISK, free=GIB - 1), ["warning"]),
        (replace(DISK, writable=False), ["error"]),
        (replace(DISK, kind="hdd"), ["note"]),
        (replace(DISK, kind="network", filesystem="nfs4"), ["note"]),
        (replace(DISK, kind="tmpfs"), ["warning"]),
        (replace(DISK, kind="overlay"), ["warning"]),
    ],
)
def test_disk(disk: Disk, expected: list[str]) -> None:
    assert [finding.severity for finding in host_findings.of_disk(disk)] == expected


def test_what_goes_wrong_has_a_consequence_and_a_next_step() -> None:
    bad = [
        *host_findings.of_memory(replace(MEMORY, available=0)),
        *host_findings.of_disk(replace(DISK, writable=False, free=0, kind="tmpfs")),
    ]
    assert len(bad) == 4
    assert all(finding.consequence and finding.next_step for finding in bad)
