"""Looks at this machine. Reading only: nothing is loaded onto a GPU, reset or changed."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from server.hardware import (
    adapters,
    cpu,
    disk,
    gpu_findings,
    host_findings,
    memory,
    nvml,
)
from server.hardware.machine import Area, Finding, Gpu, Machine, Memory

_T = TypeVar("_T")


def probe(home: Path, root: Path = Path("/")) -> Machine:
    """The machine as it is now; never raises for what it finds.

    `home` is the folder whose disk counts. /proc, /sys and /dev are read under `root`, so that a
    test can lay out a machine; NVML is always the real one of this process.
    """
    findings: list[Finding] = []
    processor = _or_else(lambda: cpu.read(root), cpu.from_system, "cpu", findings)
    ram = _or_else(lambda: memory.read(root), memory.from_system, "memory", findings)
    space = disk.read(home, root)
    report = nvml.read(root)
    findings += gpu_findings.decide(report, adapters.read(root))
    findings += host_findings.of_cpu(processor)
    findings += host_findings.of_memory(ram)
    findings += host_findings.of_disk(space)
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        driver=report.driver,
        cuda=report.cuda,
        gpus=tuple(_with_memory(gpu, ram) for gpu in report.gpus),
        lost_gpus=report.lost_gpus,
        links=report.links,
        cpu=processor,
        memory=ram,
        disk=space,
        findings=tuple(findings),
    )


def _with_memory(gpu: Gpu, ram: Memory) -> Gpu:
    """A GPU that shares the machine's RAM, with the RAM's figures."""
    if not gpu.unified:
        return gpu
    used = ram.total - ram.available
    return replace(gpu, memory_total=ram.total, memory_free=ram.available, memory_used=used)


def _or_else(
    read: Callable[[], _T], fallback: Callable[[], _T], area: Area, findings: list[Finding]
) -> _T:
    try:
        return read()
    except OSError as error:
        findings.append(
            Finding(
                "warning",
                area,
                f"{error.filename} cannot be read: {error.strerror}",
                "What is told here is less exact, and limits of control groups are not seen",
                "Under systemd, remove ProcSubset=pid",
            )
        )
        return fallback()
