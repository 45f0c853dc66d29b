"""What an engine really took, by its own account and the kernel's, in the planner's terms. Pure.

llama-server logs each buffer to the hundredth of a MiB. What is left of the process' memory when
these are taken off is the process itself, and what is left of it on a GPU the driver's context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.engines.program import Buffer, Reserved
from server.planning.footprint.component import RAM, Component
from server.planning.footprint.image import LARGEST_IMAGE
from server.units import GIB, MIB

_WARM_UP_IMAGE = 46 * 46
"""Tokens of the image with which llama-server warms up (tools/mtmd/clip.cpp)."""

_BUFFER = re.compile(
    r"(?P<source>\w+): +(?P<device>\S+) +(?P<kind>model|KV|RS|compute|output)"
    r" buffer size = +(?P<mib>[\d.]+) MiB"
)
_ENCODER = re.compile(r"load_hparams: model size: +(?P<mib>[\d.]+) MiB")
_FILE = re.compile(r"print_info: file size += +(?P<size>[\d.]+) (?P<unit>[MG])iB")
_CUDA = re.compile(r"CUDA(\d+)$")

_COMPONENTS: Mapping[str, Component] = {
    "model": "weights", "KV": "kv_cache", "RS": "state", "compute": "compute", "output": "output",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory of a process and its children in RAM, by what is behind it: bytes."""

    anonymous: int
    weights: int
    """Pages of weight files."""
    other_files: int
    """Pages of programs and libraries."""
    shared: int = 0


class LlamaServerLog:
    """Adds up the buffers of one llama-server's start, line by line.

    `gpus` are the ids of the devices that it calls CUDA0, CUDA1, ...
    """

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._gpus = tuple(gpus)
        self._contexts = 0
        self._encoder = 0
        self._tensors = 0
        self._repacked = 0
        self._sizes: dict[tuple[str, Component], int] = {}
        self._scratch: dict[tuple[str, Component, int], int] = {}
        self._filled = 0

    def feed(self, line: str) -> None:
        if "constructing llama_context" in line:
            self._contexts += 1
        elif "model size:" in line and (found := _ENCODER.search(line)) is not None:
            self._encoder = round(float(found["mib"]) * MIB)
        elif "file size" in line and (found := _FILE.search(line)) is not None:
            unit = MIB if found["unit"] == "M" else GIB
            self._tensors = round(float(found["size"]) * unit)
        elif "buffer size = " in line and (found := _BUFFER.search(line)) is not None:
            size = round(float(found["mib"]) * MIB)
            self._take(found["source"], found["device"], found["kind"], size)

    def reserved(self) -> Reserved:
        """What was logged so far."""
        sizes = dict(self._sizes)
        for (device, component, _), size in self._scratch.items():
            sizes[device, component] = sizes.get((device, component), 0) + size
        if (RAM, "weights") in sizes and not self._gpus:
            # Copies in another layout take the place of mapped pages that are not read again, but
            # for those behind the last page that is mapped.
            most = sizes[RAM, "weights"] + self._repacked
            sizes[RAM, "weights"] = max(sizes[RAM, "weights"], min(self._tensors, most))
        device = self._gpus[0] if self._gpus else RAM
        if (device, "vision") in sizes:
            sizes[device, "vision"] += self._encoder
        return sizes

    @property
    def filled(self) -> int:
        """Bytes of RAM that it reserved and wrote to: all but mapped files and scratch space."""
        return self._filled

    def _take(self, source: str, device: str, kind: str, size: int) -> None:
        cuda = _CUDA.match(device)
        place = self._gpus[int(cuda[1])] if cuda and int(cuda[1]) < len(self._gpus) else RAM
        if place == RAM and kind != "compute" and device != "CPU_Mapped":
            self._filled += size
        if device == "CPU_REPACK":
            self._repacked += size
            return
        if source == "reserve_compute_meta":  # clip.cpp: the image encoder's
            self._sizes[place, "vision"] = round(size * LARGEST_IMAGE / _WARM_UP_IMAGE)
            return
        component: Component = "mtp" if self._contexts > 1 else _COMPONENTS[kind]
        if kind == "compute":
            # A context may reserve again, in place of what it had.
            self._scratch[place, component, self._contexts] = size
        else:
            self._sizes[place, component] = self._sizes.get((place, component), 0) + size


def vllm_reserved(buffers: Sequence[Buffer], gpus: Sequence[str]) -> Reserved:
    """The same from what a vLLM logged, the last of each kind on each device.

    Its one pool holds KV cache and state alike, which are told apart by `split_pool`.
    """
    names: Mapping[str, Component] = {"model": "weights", "KV": "kv_cache", "graphs": "graphs"}
    sizes: dict[tuple[str, Component], int] = {}
    for buffer in buffers:
        cuda = _CUDA.match(buffer.device)
        device = gpus[int(cuda[1])] if cuda and int(cuda[1]) < len(gpus) else RAM
        if buffer.kind in names:
            sizes[device, names[buffer.kind]] = buffer.bytes
    return sizes


def with_process(
    reserved: Reserved,
    filled: int,
    resident: Resident | None,
    gpu_memory: Mapping[str, int],
) -> Reserved:
    """`reserved` and, beside it, what the process and the driver's context take.

    `filled`: bytes of `resident` that are buffers. `gpu_memory`: bytes of each GPU that the driver
    says the process holds.
    """
    sizes = dict(reserved)
    if resident is not None:
        whole = resident.anonymous + resident.other_files + resident.shared
        sizes[RAM, "process"] = max(0, whole - filled)
    for gpu, held in gpu_memory.items():
        known = sum(size for (device, _), size in reserved.items() if device == gpu)
        sizes[gpu, "context"] = max(0, held - known)
    return sizes
