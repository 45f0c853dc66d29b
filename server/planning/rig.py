"""What models can be placed on: the GPUs that can be used, RAM, and the ways between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from server.hardware import gpu_table
from server.hardware.machine import DiskClass, Link, Machine
from server.planning import processor
from server.planning.device import NOTHING, RAM_ID, Device, Interconnect, Own
from server.planning.usable import devices, free_bytes, unused

__all__ = ["NOTHING", "RAM_ID", "Device", "Interconnect", "Own", "Rig", "rig"]

_DISK_SPEED: Mapping[DiskClass, float] = {
    "nvme": 2.5e9, "ssd": 500e6, "hdd": 150e6, "network": 110e6, "tmpfs": 5e9,
    "overlay": 500e6, "virtual": 500e6, "unknown": 500e6,
}  # fmt: skip
"""Bytes/s in long reads, where it was not measured: PCIe 3 x4, SATA, a disk, gigabit Ethernet."""


@dataclass(frozen=True, slots=True)
class Rig:
    gpus: tuple[Device, ...]
    ram: Device
    interconnects: tuple[Interconnect, ...]
    """One for each pair of `gpus` that are no MIG instances."""
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


def rig(machine: Machine, *, own: Own = NOTHING) -> Rig:
    """What can be placed on.

    Free memory is what the driver and the kernel tell, so that other processes' use is taken off;
    a tenth of it, at most 4 GiB, stays in reserve for what they may still take. What NVML does not
    tell of a GPU comes from the table of GPUs, or is that of the slowest card of its capability.
    """
    gpus: list[Device] = []
    left_out = [unused(gpu.index, gpu.name, gpu.reason) for gpu in machine.lost_gpus]
    for gpu in machine.gpus:
        usable, problems = devices(gpu, own)
        gpus += usable
        left_out += problems
    unified = [device.bandwidth for device in gpus if device.pool == RAM_ID]
    ram = _ram(machine, own, max(unified, default=processor.bandwidth(machine.cpu)))
    # The RAM that a unified GPU shares is told once, after one reserve.
    gpus = [_shared(device, ram) if device.pool == RAM_ID else device for device in gpus]
    return Rig(
        gpus=tuple(gpus),
        ram=ram,
        interconnects=tuple(_interconnects(gpus, machine.links)),
        cores=machine.cpu.usable_cores,
        disk_free=machine.disk.free,
        disk_speed=machine.disk.read_speed or _DISK_SPEED[machine.disk.kind],
        left_out=tuple(left_out),
    )


def _ram(machine: Machine, own: Own, bandwidth: float) -> Device:
    memory = machine.memory
    sharing = (gpu for gpu in machine.gpus if gpu.unified)
    held = own.on(RAM_ID, None) + sum(own.on(gpu.uuid, gpu.processes) for gpu in sharing)
    total = min(memory.total, memory.limit or memory.total)
    return Device(
        id=RAM_ID,
        name="RAM",
        product=machine.cpu.model,
        index=None,
        pool=RAM_ID,
        memory=total,
        free=free_bytes(total, memory.available, held),
        bandwidth=bandwidth,
        compute=processor.compute(machine.cpu),
        capability=None,
        host_link=bandwidth,
    )


def _shared(gpu: Device, ram: Device) -> Device:
    return replace(gpu, memory=ram.memory, free=ram.free)


def _interconnects(gpus: list[Device], links: tuple[Link, ...]) -> Iterator[Interconnect]:
    told = {frozenset[int | None]((link.first, link.second)): link for link in links}
    for first, second in combinations((gpu for gpu in gpus if not gpu.mig), 2):
        link = told.get(frozenset((first.index, second.index)))
        slot = min(first.host_link, second.host_link)
        if link is None or link.kind == "pcie":
            yield Interconnect(first.id, second.id, "pcie", slot)
        else:
            product = gpu_table.lookup(first.product, first.memory)
            rate = link.bandwidth or (product.nvlink if product else 0)
            yield Interconnect(first.id, second.id, link.kind, rate or slot)
