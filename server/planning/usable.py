"""Which GPUs of a machine can be used, and what each of them is worth; and why the others not."""

from __future__ import annotations

from server.hardware import gpu_table
from server.hardware.machine import Gpu, MigInstance
from server.planning.device import RAM_ID, Device, Own
from server.planning.sizing import reserve


def devices(gpu: Gpu, own: Own) -> tuple[list[Device], list[str]]:
    """The GPU, or its MIG instances; and why it, or which of them, cannot be used."""
    if (reason := _unusable(gpu)) is not None:
        return [], [unused(gpu.index, gpu.name, reason)]
    if not gpu.mig:
        return [_whole(gpu, own)], []
    usable = [_slice(gpu, part, own) for part in gpu.mig_instances if part.memory_free is not None]
    problems = [
        f"GPU {gpu.index}, MIG {part.index} ({part.name}): the driver does not tell its memory"
        for part in gpu.mig_instances
        if part.memory_free is None
    ]
    return usable, problems


def _unusable(gpu: Gpu) -> str | None:
    health = gpu.health
    if health.remap_failed:
        return "its memory is failing, no spare row is left"
    if health.remap_pending:
        return "a bad row of its memory waits for a reset of the GPU"
    if health.recovery not in (None, "none"):
        return f"the driver asks, after an error: {health.recovery}"
    if gpu.mig and not gpu.mig_instances:
        return "it is in MIG mode and has no instance"
    if not gpu.mig and (gpu.memory_free is None or gpu.memory_total is None):
        return "the driver does not tell how much memory it has"
    return None


def _whole(gpu: Gpu, own: Own) -> Device:
    assert gpu.memory_total is not None
    assert gpu.memory_free is not None
    product = gpu_table.lookup(gpu.name, gpu.memory_total)
    bandwidth, compute = _rates(gpu, product)
    return Device(
        id=gpu.uuid,
        name=f"GPU {gpu.index} ({gpu.name})",
        product=gpu.name,
        index=gpu.index,
        pool=RAM_ID if gpu.unified else gpu.uuid,
        memory=gpu.memory_total,
        free=free_bytes(gpu.memory_total, gpu.memory_free, own.on(gpu.uuid, gpu.processes)),
        bandwidth=bandwidth,
        compute=compute,
        capability=gpu.compute_capability or (product.capability if product else None),
        host_link=bandwidth if gpu.unified else _host_link(gpu, product),
        used_by=own.strangers(gpu.processes),
    )


def _slice(gpu: Gpu, part: MigInstance, own: Own) -> Device:
    """A MIG instance. Bandwidth and compute are in proportion to its memory: slices of all three
    are handed out together (NVIDIA's MIG user guide), compute in sevenths for memory's eighths."""
    assert part.memory_free is not None
    product = gpu_table.lookup(gpu.name, gpu.memory_total)
    total = part.memory_total or part.memory_free
    of = gpu.memory_total or (product.memory if product else total)
    share = min(1.0, total / of)
    bandwidth, compute = _rates(gpu, product)
    return Device(
        id=part.uuid,
        name=f"GPU {gpu.index}, MIG {part.index} ({part.name})",
        product=part.name,
        index=gpu.index,
        pool=part.uuid,
        memory=total,
        free=free_bytes(total, part.memory_free, own.on(part.uuid, part.processes)),
        bandwidth=bandwidth * share,
        compute=compute * share,
        capability=gpu.compute_capability or (product.capability if product else None),
        host_link=_host_link(gpu, product),
        used_by=own.strangers(part.processes),
        mig=True,
    )


def _rates(gpu: Gpu, product: gpu_table.Product | None) -> tuple[float, float]:
    """(bandwidth, compute): NVML tells the first of most cards, the second of none."""
    bandwidth, compute = gpu_table.least(gpu.compute_capability)
    if product is not None:
        bandwidth, compute = product.bandwidth, product.compute
    return gpu.bandwidth or bandwidth, compute


def _host_link(gpu: Gpu, product: gpu_table.Product | None) -> float:
    if gpu.pcie_generation and gpu.pcie_width:
        return gpu_table.pcie_rate(gpu.pcie_generation, gpu.pcie_width)
    return product.host_link if product else gpu_table.pcie_rate(3, 16)


def free_bytes(total: int, free: int, own: int) -> int:
    """Bytes for engines: what nobody else uses, after the reserve."""
    ours_or_nobodys = min(total, free + own)
    return ours_or_nobodys - reserve(ours_or_nobodys)


def unused(index: int, name: str | None, reason: str) -> str:
    """Why a GPU is left out, in words."""
    return f"GPU {index}{f' ({name})' if name else ''}: {reason}"
