"""Hardware that one does not have: `--hardware 2x4090+256G` -> a Machine to plan for.

    1x4090+64G             GPUs and RAM; the number may be left out
    8xH100-80G+2T          a size after a name where cards of one name differ in memory
    1x4090+1x3090+128G     mixed cards
    2x3090+nvlink+128G     pairs joined by an NVLink bridge; SXM boards are joined without a word
    cpu+16G                no GPU
    unified+128G           a GB10, whose GPU uses the machine's RAM
    cpu+64G+16c            16 processor cores; else one for each 8 GiB of RAM, from 4 to 64
    box.json               what `holdfast doctor --json` printed on another machine

GPUs are those of gpus.toml. The machine is idle, has a disk of 4 TiB, and an x86 processor with
AVX2 (ARM with dot products beside unified memory).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from server.catalogue.catalogue import suggestion
from server.errors import ConfigError
from server.hardware import gpu_table
from server.hardware.gpu_table import Product
from server.hardware.machine import Cpu, Disk, Gpu, Health, Link, Machine, Memory
from server.units import GIB, MIB, TIB, parse_bytes

EXAMPLE = "Write it as 1x4090+64G, 8xH100-80G+2T, cpu+16G or unified+128G"

_LARGEST_RAM = 64 * TIB
_MOST_GPUS = 64
_DISK = 4 * TIB
_CORE_PER = 8 * GIB
_FEWEST, _MOST = 4, 64
_X86 = ("sse4_2", "avx", "f16c", "fma", "bmi2", "avx2")
_ARM = ("neon", "fp16", "dotprod", "i8mm", "bf16")
_HEALTHY = Health(None, None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a description names."""

    products: tuple[Product, ...]
    ram: int
    cores: int | None
    bridged: bool


def imagined(text: str) -> Machine:
    """The machine that `text` describes, or that the file of this name holds.

    Raises ConfigError for what is not understood, with the nearest GPUs' names, and for a file that
    cannot be read.
    """
    if text.endswith(".json") or "/" in text:
        return Machine.from_json(_read(text))
    return _machine(text, _parts(text))


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # no such file, path or user
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"the machine's file {path} cannot be read: {reason}", next_step=EXAMPLE
        ) from None


def _parts(text: str) -> _Parts:
    products: list[Product] = []
    ram: int | None = None
    cores: int | None = None
    words: set[str] = set()
    for item in text.split("+"):
        word = item.strip()
        if word.lower() in ("cpu", "nvlink", "unified"):
            words.add(word.lower())
        elif match := re.fullmatch(r"(\d{1,4})\s*c(?:ores?)?", word, re.IGNORECASE):
            cores = _once(text, cores, int(match[1]), "cores")
        elif re.fullmatch(r"\d+(\.\d+)?\s*[kmgt](i?b)?", word, re.IGNORECASE):
            ram = _once(text, ram, parse_bytes(word), "sizes of RAM")
        else:
            products += _cards(text, word)
    if "unified" in words:
        products += gpu_table.find("GB10")
    problem = _contradiction(products, ram, cores, words)
    if problem is not None or ram is None:
        raise _wrong(text, problem or "it does not say how much RAM there is")
    return _Parts(tuple(products), ram, cores, "nvlink" in words)


def _cards(text: str, word: str) -> list[Product]:
    """The cards of `2x4090`. Raises ConfigError for a GPU that is not in the table, or not one."""
    match = re.fullmatch(r"(?:(\d+)\s*[x*])?\s*(\S.*)", word, re.IGNORECASE)
    if match is None:
        raise _wrong(text, "there is nothing between two signs of +, or at an end")
    count, name = int(match[1] or 1), match[2]
    found = gpu_table.find(name)
    if len(found) > 1:
        either = " or ".join(product.label for product in found)
        raise _wrong(text, f'"{name}" may be {either}', "Say which of them it is")
    if not found:
        labels = sorted({product.label.lower() for product in gpu_table.products()})
        near = suggestion(gpu_table.bare(name), labels, "GPUs")
        raise _wrong(text, f'"{name}" is no GPU of the table', near)
    if not 1 <= count <= _MOST_GPUS:
        raise _wrong(text, f"{count} GPUs are not from 1 to {_MOST_GPUS}")
    return [found[0]] * count


def _once(text: str, before: int | None, value: int, what: str) -> int:
    if before is not None:
        raise _wrong(text, f"it names two {what}")
    return value


def _contradiction(
    products: list[Product], ram: int | None, cores: int | None, words: set[str]
) -> str | None:
    if "cpu" in words and products:
        return '"cpu" stands for a machine without GPUs, and there are some'
    if ram is not None and not GIB // 2 <= ram <= _LARGEST_RAM:
        return "RAM must be from 512M to 64T"
    if cores is not None and not 1 <= cores <= 1024:
        return "there must be from 1 to 1024 cores"
    if any(product.unified for product in products) and len(products) > 1:
        return "a GPU without memory of its own stands alone"
    if "nvlink" in words and len(products) < 2:
        return "NVLink joins two GPUs or more"
    if not products and "cpu" not in words:
        return 'it names no GPU; a machine without any is written "cpu"'
    return None


def _wrong(text: str, why: str, next_step: str = EXAMPLE) -> ConfigError:
    return ConfigError(
        f'the hardware "{text}" is not understood', problems=(why,), next_step=next_step
    )


def _machine(text: str, parts: _Parts) -> Machine:
    unified = any(product.unified for product in parts.products)
    # The kernel keeps a 64th for its page tables, and an idle server holds some 750 MiB.
    available = parts.ram - parts.ram // 64 - min(768 * MIB, parts.ram // 4)
    memory = Memory(parts.ram, available, None, None, 0, 0)
    cores = parts.cores or max(_FEWEST, min(_MOST, parts.ram // _CORE_PER))
    return Machine(
        system=f"imagined ({text})",
        driver="imagined" if parts.products else None,
        cuda="13.0" if parts.products else None,
        gpus=tuple(_gpu(number, product, memory) for number, product in enumerate(parts.products)),
        lost_gpus=(),
        links=tuple(_links(parts)),
        cpu=_cpu(cores, arm=unified),
        memory=memory,
        disk=Disk("/", "/", "ext4", "imagined", _DISK, _DISK, "nvme", writable=True),
        findings=(),
    )


def _gpu(number: int, product: Product, ram: Memory) -> Gpu:
    total = ram.total if product.unified else product.memory
    # What the driver itself keeps of an idle card: 340 to 640 MiB of large ones.
    free = ram.available if product.unified else total - min(512 * MIB, total * 3 // 100)
    return Gpu(
        index=number,
        name=product.name,
        uuid=f"GPU-{number}",
        pci=None,
        memory_total=total,
        memory_free=free,
        memory_used=0,
        unified=product.unified,
        bandwidth=int(product.bandwidth),
        compute_capability=product.capability,
        processes=(),
        mig=None,
        mig_instances=(),
        health=_HEALTHY,
        pcie_generation=product.pcie,
        pcie_width=product.lanes,
        pcie_width_possible=product.lanes,
        temperature=None,
        power_limit=None,
    )


def _links(parts: _Parts) -> Iterator[Link]:
    """A way between each pair: NVLink where the board or a bridge gives one, else PCIe."""
    for (first, one), (second, other) in combinations(enumerate(parts.products), 2):
        neighbours = second == first + 1 and first % 2 == 0
        bridged = parts.bridged and one.joined == "bridge" and neighbours
        kind: Literal["nvlink", "nvswitch", "pcie"] = "pcie"
        if one == other and one.joined is not None and (one.joined != "bridge" or bridged):
            kind = "nvswitch" if one.joined == "switch" else "nvlink"
        joined = kind != "pcie"
        yield Link(
            first,
            second,
            kind,
            lanes=1 if joined else 0,  # one stands for all of them
            bandwidth=int(one.nvlink) if joined else None,
            distance=None if joined else "host bridge",
        )


def _cpu(cores: int, *, arm: bool) -> Cpu:
    return Cpu(
        model="imagined processor",
        architecture="aarch64" if arm else "x86_64",
        logical=cores,
        physical=cores,
        allowed=tuple(range(cores)),
        quota=None,
        quota_source=None,
        usable=cores,
        usable_cores=cores,
        instructions=_ARM if arm else _X86,
        numa=(),
    )
