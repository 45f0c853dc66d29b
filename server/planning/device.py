"""What one engine can be put on: a GPU, a MIG instance, or RAM with the processor beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from server.hardware.machine import Process

RAM_ID = "ram"
"""The id of RAM as a device and as a memory pool."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, a MIG instance, or RAM with the processor beside it."""

    id: str
    """UUID of the GPU or MIG instance, as engines are given it; RAM_ID for RAM."""
    name: str
    """For people: `GPU 0 (NVIDIA GeForce RTX 4090)`, `RAM`."""
    product: str
    """What it is, the same for all of its kind: what measurements are kept by."""
    index: int | None
    """The driver's number of the GPU; that of its GPU for a MIG instance; None for RAM."""
    pool: str
    """The memory that it draws from: its own id, or RAM_ID where the GPU has none of its own."""
    memory: int
    """Bytes in all."""
    free: int
    """Bytes that engines may take: without what others use, and after the reserve."""
    bandwidth: float
    """Peak bytes/s at which its memory is read."""
    compute: float
    """Peak FLOP/s on dense 16-bit matrices; of RAM, that of the processor (planning/processor.py).
    """
    capability: tuple[int, int] | None
    """CUDA compute capability; None for RAM."""
    host_link: float
    """Bytes/s between RAM and the device, each way; RAM's own bandwidth where it is the same."""
    used_by: tuple[Process, ...] = ()
    """Strangers that hold memory of it."""
    mig: bool = False
    """A slice of a GPU: it has no way to other devices but through RAM."""


@dataclass(frozen=True, slots=True)
class Interconnect:
    """How two GPUs reach each other, by device id; NVLink joins them directly, PCIe through RAM's
    side of the bus."""

    first: str
    second: str
    kind: Literal["nvlink", "nvswitch", "pcie"]
    bandwidth: float
    """Bytes/s in each direction."""


@dataclass(frozen=True, slots=True)
class Own:
    """What a running Holdfast's own engines hold; to a new plan it is free."""

    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes by device id, RAM_ID included (without pages of files, which are available anyway)."""
    pids: Collection[int] = ()
    """Of all their processes. Where the driver tells more for them than `memory`, that counts."""

    def on(self, device_id: str, processes: tuple[Process, ...] | None) -> int:
        told = sum(user.memory or 0 for user in processes or () if user.pid in self.pids)
        return max(self.memory.get(device_id, 0), told)

    def strangers(self, processes: tuple[Process, ...] | None) -> tuple[Process, ...]:
        return tuple(user for user in processes or () if user.pid not in self.pids)


NOTHING = Own()
