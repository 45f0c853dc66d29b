"""What models can be placed on: the GPUs that can be used, RAM, and the ways between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """Peak FLOP/s on dense 16-bit matrices."""
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
class Rig:
    gpus: tuple[Device, ...]
    ram: Device
    interconnects: tuple[Interconnect, ...]
    """One for each pair of `gpus`."""
    cores: int
    """Whole processor cores that engines may use."""
    disk_free: int
    """Bytes that can still be written where the weights are kept."""
    disk_speed: float
    """Bytes/s at which weights are read from there: measured, else estimated by the disk's kind."""
    left_out: tuple[str, ...]
    """GPUs that are not used, each with the reason, in words."""

    def device(self, device_id: str) -> Device:
        """Raises KeyError for an id that is not on this rig."""
        for device in (*self.gpus, self.ram):
            if device.id == device_id:
                return device
        raise KeyError(device_id)

    def interconnect(self, first: str, second: str) -> Interconnect:
        """The way between two GPUs, in either order. Raises KeyError where there is none."""
        for way in self.interconnects:
            if {way.first, way.second} == {first, second}:
                return way
        raise KeyError((first, second))

    def pools(self) -> Mapping[str, int]:
        """Free bytes by memory pool; unified GPUs have none beside RAM's."""
        return {device.pool: device.free for device in (*self.gpus, self.ram)}
