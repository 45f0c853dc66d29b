"""Machines and demands, as data: what plans are tested on.

`CASES` pairs every machine with `auto` and with two other demands, in turn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from server import catalogue, settings
from server.catalogue import Catalogue, Serve, ServedModel
from server.hardware.imagined import imagined
from server.hardware.machine import Gpu, LostGpu, Machine, MigInstance, Process
from server.planning.demand import Demand, demand
from server.planning.rig import Rig, rig
from server.units import GIB, MIB

KNOWN = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)


@dataclass(frozen=True, slots=True)
class Case:
    hardware: str
    wanted: str

    @property
    def name(self) -> str:
        return f"{self.hardware}: {self.wanted}"

    @property
    def machine(self) -> Machine:
        return HARDWARE[self.hardware]

    @property
    def rig(self) -> Rig:
        return rig(self.machine)

    @property
    def catalogue(self) -> Catalogue:
        return replace(KNOWN, serve=DEMANDS[self.wanted])

    @property
    def demand(self) -> Demand:
        return demand(self.catalogue)


def changed(text: str, number: int, **values: object) -> Machine:
    """The imagined machine `text`, with some facts of GPU `number` replaced."""
    machine = imagined(text)
    return _with(machine, number, replace(machine.gpus[number], **values))  # type: ignore[arg-type]


def busy(text: str, used: dict[int, int]) -> Machine:
    """The imagined machine `text`, with memory (bytes, by GPU) held by somebody's python."""
    machine = imagined(text)
    for number, size in used.items():
        gpu = machine.gpus[number]
        assert gpu.memory_free is not None
        stranger = Process(4242 + number, "python3", size)
        free = max(0, gpu.memory_free - size)
        taken = replace(gpu, memory_free=free, memory_used=size, processes=(stranger,))
        machine = _with(machine, number, taken)
    return machine


def sliced(text: str, number: int, *profiles: str) -> Machine:
    """The imagined machine `text`, GPU `number` of which is cut by MIG: `3g.40gb`, `1g.10gb`..."""
    machine = imagined(text)
    gpu = machine.gpus[number]
    parts = tuple(
        MigInstance(
            index=index,
            uuid=f"MIG-{number}-{index}",
            name=f"{gpu.name} MIG {profile}",
            memory_total=size,
            memory_free=size - 60 * MIB,
            multiprocessors=int(profile[0]) * 14,
            processes=(),
        )
        for index, profile in enumerate(profiles)
        for size in [int(profile.split(".")[1].removesuffix("gb")) * GIB * 99 // 100]
    )
    return _with(machine, number, replace(gpu, mig=True, mig_instances=parts))


def without(text: str, number: int) -> Machine:
    """The imagined machine `text`, whose GPU `number` does not answer."""
    machine = imagined(text)
    lost = LostGpu(number, machine.gpus[number].name, "0000:01:00.0", "GPU is lost")
    left = tuple(gpu for gpu in machine.gpus if gpu.index != number)
    links = tuple(link for link in machine.links if number not in (link.first, link.second))
    return replace(machine, gpus=left, links=links, lost_gpus=(lost,))


def _with(machine: Machine, number: int, gpu: Gpu) -> Machine:
    gpus = machine.gpus
    return replace(machine, gpus=(*gpus[:number], gpu, *gpus[number + 1 :]))


def _limited(text: str, limit: int) -> Machine:
    """In a control group that grants `limit` bytes of RAM."""
    machine = imagined(text)
    source = "/sys/fs/cgroup/memory.max"
    memory = replace(machine.memory, limit=limit, limit_source=source, available=limit - 100 * MIB)
    return replace(machine, memory=memory)


def _strained(text: str, available: int) -> Machine:
    machine = imagined(text)
    return replace(machine, memory=replace(machine.memory, available=available))


def _full_disk(text: str) -> Machine:
    machine = imagined(text)
    return replace(machine, disk=replace(machine.disk, free=2 * GIB, kind="hdd"))


def _ill(text: str, number: int, **health: object) -> Machine:
    known = imagined(text).gpus[number].health
    return changed(text, number, health=replace(known, **health))  # type: ignore[arg-type]


_IMAGINED = (
    # no GPU
    "cpu+1G", "cpu+2G", "cpu+4G", "cpu+8G", "cpu+16G", "cpu+32G", "cpu+64G+16c", "cpu+512G",
    # one small card
    "3060-8G+16G", "4060+16G", "2080+16G", "3060-12G+32G", "4060-Ti-16G+32G", "T4+16G", "L4+32G",
    # one large card
    "4090+16G", "1x4090+64G", "3090+64G", "5090+128G", "A10+64G", "A6000+128G", "L40S+128G",
    "A100-80G+256G", "H100-PCIe+256G", "PRO-6000+128G",
    # several
    "2x4090+256G", "2x3090+nvlink+128G", "4x3090+nvlink+256G", "4xL4+128G", "2xA100-80G+512G",
    "8xA100-40G+1T", "8xH100-80G+2T", "8xH200+2T", "8xB200+4T",
    # mixed
    "1x4090+1x3090+128G", "4090+3060-12G+64G", "5090+4060-Ti-16G+2080-Ti+64G", "H100+L4+256G",
    # GPUs without memory of their own
    "unified+128G", "Orin+64G",
)  # fmt: skip

HARDWARE: dict[str, Machine] = {text: imagined(text) for text in _IMAGINED} | {
    "4090 beside a desktop": busy("4090+64G", {0: 1200 * MIB}),
    "4090 that is busy": busy("4090+64G", {0: 18 * GIB}),
    "4090 that is full": busy("4090+64G", {0: 24 * GIB}),
    "2x4090, the first busy": busy("2x4090+128G", {0: 20 * GIB}),
    "8xH100, three busy": busy("8xH100+2T", {0: 70 * GIB, 3: 40 * GIB, 7: 79 * GIB}),
    "2x4090, one lost": without("2x4090+128G", 0),
    "8xH100, one lost": without("8xH100+2T", 5),
    "4090 whose memory is not told": changed("4090+64G", 0, memory_total=None, memory_free=None),
    "2x3090, one failing": _ill("2x3090+128G", 1, remap_failed=True),
    "A100 that waits for a reset": _ill("A100-80G+256G", 0, remap_pending=True),
    "H100 to be reset": _ill("2xH100+512G", 0, recovery="reset the GPU"),
    "A100 in two halves": sliced("A100-80G+256G", 0, "3g.40gb", "3g.40gb"),
    "H100 in seven": sliced("H100+256G", 0, *["1g.10gb"] * 7),
    "2xA100, one cut": sliced("2xA100-80G+512G", 1, "3g.40gb", "2g.20gb", "1g.10gb"),
    "A100 in MIG mode without instances": sliced("A100-80G+256G", 0),
    "4090 with little RAM granted": _limited("4090+64G", 8 * GIB),
    "cpu with 3 GiB granted": _limited("cpu+64G", 3 * GIB),
    "cpu whose RAM is in use": _strained("cpu+32G", 700 * MIB),
    "4090 with a full disk": _full_disk("4090+64G"),
    "P40": imagined("P40+32G"),
    "4090 with an old driver": changed(
        "4090+64G", 0, bandwidth=None, compute_capability=None, processes=None, pcie_width=None
    ),
    "a card that nobody knows": changed(
        "4090+64G", 0, name="NVIDIA GeForce RTX 6090", bandwidth=None, compute_capability=(13, 0)
    ),
}

DEMANDS: dict[str, Serve] = {
    "auto": Serve(),
    "one small": Serve(models=("qwen3.5-0.8b",)),
    "two": Serve(models=("qwen3.5-9b", "qwen3.5-2b")),
    "one build": Serve(models=("qwen3.5-9b:q4_k_m",)),
    "exact": Serve(models=("qwen3.5-2b",), context=8192, slots=2),
    "auto, the small one pinned": Serve(
        auto=True, model=(ServedModel("qwen3.5-0.8b", pin=True, slots=4),)
    ),
    "weights": Serve(
        model=(
            ServedModel("qwen3.5-35b-a3b", weight=1, context=65_536),
            ServedModel("qwen3.5-4b", weight=5, slots=4),
            ServedModel("qwen3.5-0.8b", weight=20, slots=8),
        )
    ),
    "a long context": Serve(model=(ServedModel("qwen3.5-9b", context=131_072),)),
    "many slots": Serve(model=(ServedModel("qwen3.5-4b", slots=16, context=8192),)),
    "fast": Serve(model=(ServedModel("qwen3.5-27b", speed=40.0),)),
    "vLLM only": Serve(model=(ServedModel("qwen3.5-4b", engines=("vllm",)),)),
    "the largest": Serve(models=("qwen3.5-397b-a17b",)),
    "the family": Serve(models=tuple(name for name in KNOWN.models if name != "demo")),
    "unloaded when idle": Serve(
        models=("qwen3.5-27b", "qwen3.5-9b", "qwen3.5-4b"), keep_alive=300.0
    ),
    "pins that contend": Serve(
        model=(
            ServedModel("qwen3.5-122b-a10b", pin=True),
            ServedModel("qwen3.5-397b-a17b", pin=True),
        )
    ),
    "the demo": Serve(models=("demo",)),
}


def _cases() -> Iterator[Case]:
    others = [name for name in DEMANDS if name != "auto"]
    for number, hardware in enumerate(HARDWARE):
        yield Case(hardware, "auto")
        yield Case(hardware, others[number % len(others)])
        yield Case(hardware, others[(number * 4 + 7) % len(others)])


CASES: tuple[Case, ...] = tuple(dict.fromkeys(_cases()))
