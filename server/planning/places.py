"""Where an engine can run: on one GPU, or on the CPU. Pure.

A first placement: a model goes whole into the first place that holds it. Splits over several GPUs,
or between a GPU and RAM, are not made here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from server.hardware.machine import Gpu, Machine
from server.units import MIB

CPU_BANDWIDTH = 25.6e9
"""Bytes/s from RAM assumed for a CPU: half of what two channels of DDR4-3200 do at their peak,
2 x 25.6 GB/s, which is about what generation gets out of them. Never measured here."""

CUDA_CONTEXT = 457 * MIB
"""Bytes of a GPU that a CUDA process takes before it holds anything (vllm#11251)."""


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    memory: int
    """Bytes that an engine may take here."""
    bandwidth: float
    """Bytes/s at which its weights are read."""
    gpu: str | None = None
    """The GPU's UUID; None: the CPU."""

    def less(self, taken: int) -> Place:
        """This place with `taken` bytes fewer."""
        return replace(self, memory=self.memory - taken)


def places(machine: Machine, *, cuda: bool) -> tuple[Place, ...]:
    """Places on `machine`, the roomiest GPU first and the CPU last.

    `cuda`: whether the engine program can use NVIDIA GPUs at all. A GPU whose free memory or
    bandwidth the driver does not tell, or that is divided by MIG, is left out.
    """
    usable = [place for gpu in machine.gpus if cuda and (place := _on(gpu)) is not None]
    cpu = Place("the CPU", machine.memory.available, CPU_BANDWIDTH)
    return (*sorted(usable, key=lambda place: place.memory, reverse=True), cpu)


def _on(gpu: Gpu) -> Place | None:
    if gpu.memory_free is None or gpu.bandwidth is None or gpu.mig:
        return None
    name = f"GPU {gpu.index} ({gpu.name})"
    return Place(name, max(0, gpu.memory_free - CUDA_CONTEXT), gpu.bandwidth, gpu.uuid)
