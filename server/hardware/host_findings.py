"""What processor, memory and disk mean for serving: pure decisions over what was read."""

from __future__ import annotations

from collections.abc import Iterator

from server.hardware.machine import Cpu, Disk, Finding, Memory
from server.units import GIB, MIB, format_bytes

LEAST_MEMORY = 512 * MIB  # the demo model with its engine and the router take about half of it
LEAST_DISK = GIB  # the smallest Qwen3.5 build takes about half of it
_ROOM_FOR_ONE_MODEL = 20 * GIB
_SWAPPING = 4 * GIB


def of_cpu(cpu: Cpu) -> Iterator[Finding]:
    if cpu.architecture == "x86_64" and cpu.instructions and "avx2" not in cpu.instructions:
        yield Finding(
            "warning",
            "cpu",
            "The processor has no AVX2",
            "Models on the CPU run several times slower than on one of the last ten years",
        )
    if cpu.quota is not None and cpu.quota < len(cpu.allowed):
        yield Finding(
            "note",
            "cpu",
            f"A control group grants {cpu.quota:g} of {cpu.logical} processors "
            f"({cpu.quota_source})",
            f"Engines are started with {_threads(cpu.usable_cores)}",
            "Raise it (docker --cpus, systemd CPUQuota=) if models on the CPU are too slow",
        )
    elif len(cpu.allowed) < cpu.logical:
        yield Finding(
            "note",
            "cpu",
            f"This process may run on {len(cpu.allowed)} of {cpu.logical} processors "
            "(affinity mask)",
            f"Engines are started with {_threads(cpu.usable_cores)}",
        )


def of_memory(memory: Memory) -> Iterator[Finding]:
    if memory.limit is not None:
        yield Finding(
            "note",
            "memory",
            f"A control group limits memory to {format_bytes(memory.limit)} of "
            f"{format_bytes(memory.total)} ({memory.limit_source})",
            "Models are placed within it",
            "Raise it (docker --memory, systemd MemoryMax=) if a model does not fit",
        )
    if memory.available < LEAST_MEMORY:
        yield Finding(
            "error",
            "memory",
            f"Only {format_bytes(memory.available)} of RAM are available",
            "Not even the demo model can be served",
            f"End some programs: {format_bytes(LEAST_MEMORY)} of RAM or more are needed",
        )
    elif memory.available < _SWAPPING:
        yield Finding(
            "note",
            "memory",
            f"Only {format_bytes(memory.available)} of RAM are available",
            "On the CPU, only the smallest models fit",
        )


def of_disk(disk: Disk) -> Iterator[Finding]:
    if not disk.writable:
        yield Finding(
            "error",
            "disk",
            f"{disk.path} cannot be written to",
            "Keys, logs and models have no place",
            "Name another folder with --home or HOLDFAST_HOME, or change the owner of this one",
        )
    if disk.free < LEAST_DISK:
        yield Finding(
            "warning",
            "disk",
            f"Only {format_bytes(disk.free)} are free on {disk.mount}",
            "No model can be pulled",
            f"Free some room on {disk.mount}, or name a folder on another disk with --home",
        )
    elif disk.free < _ROOM_FOR_ONE_MODEL:
        yield Finding(
            "note",
            "disk",
            f"Only {format_bytes(disk.free)} are free on {disk.mount}",
            "Only small models can be pulled",
            "Name a folder on a larger disk with --home",
        )
    yield from _kind(disk)


def _kind(disk: Disk) -> Iterator[Finding]:
    if disk.kind == "hdd":
        yield Finding(
            "note",
            "disk",
            f"{disk.mount} is on a hard disk",
            "A 20 GiB model takes about two minutes to load at 150 MB/s",
            "Keep the models on an SSD: --home",
        )
    elif disk.kind == "network":
        yield Finding(
            "note",
            "disk",
            f"{disk.mount} is a network file system ({disk.filesystem})",
            "Models load at the network's speed, and not at all while it is down",
        )
    elif disk.kind == "tmpfs":
        yield Finding(
            "warning",
            "disk",
            f"{disk.mount} is in RAM ({disk.filesystem})",
            "Models kept there take memory away from engines and are lost at the next restart",
            "Name a folder on a disk with --home",
        )
    elif disk.kind == "overlay":
        yield Finding(
            "warning",
            "disk",
            f"{disk.path} is inside the container's own layer",
            "Models pulled there are lost with the container",
            "Mount a volume and name it with --home",
        )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
