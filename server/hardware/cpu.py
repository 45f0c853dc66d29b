"""The processor: what it can do, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.hardware import cgroup
from server.hardware.machine import Cpu, NumaNode
from server.hardware.memory import parse_meminfo

INSTRUCTIONS: dict[str, str] = {
    # x86: the flags of /proc/cpuinfo that ggml-cpu has kernels for (GGML_AVX*, GGML_AMX_*).
    "sse4_2": "sse4_2", "avx": "avx", "f16c": "f16c", "fma": "fma", "bmi2": "bmi2",
    "avx2": "avx2", "avx_vnni": "avx_vnni", "avx512f": "avx512f", "avx512bw": "avx512bw",
    "avx512dq": "avx512dq", "avx512vl": "avx512vl", "avx512vbmi": "avx512_vbmi",
    "avx512_vnni": "avx512_vnni", "avx512_bf16": "avx512_bf16", "avx512_fp16": "avx512_fp16",
    "amx_tile": "amx_tile", "amx_int8": "amx_int8", "amx_bf16": "amx_bf16",
    # ARM: the kernel's names on the left, those that people and compilers use on the right.
    "asimd": "neon", "neon": "neon", "asimdhp": "fp16", "asimddp": "dotprod", "i8mm": "i8mm",
    "bf16": "bf16", "sve": "sve", "sve2": "sve2", "sme": "sme", "sme2": "sme2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """/proc/cpuinfo."""

    model: str
    cores: dict[int, tuple[int, int]]
    """Logical processor -> (package, core); empty where the kernel does not tell (ARM)."""
    logical: int
    instructions: tuple[str, ...]


def parse_cpuinfo(text: str) -> CpuInfo:
    """/proc/cpuinfo of x86 or ARM; anything missing stays empty, nothing is guessed."""
    model, flags = "", set[str]()
    cores: dict[int, tuple[int, int]] = {}
    logical = 0
    implementer = part = ""
    for block in re.split(r"\n\s*\n", text):
        fields = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in block.splitlines())
        }
        model = model or fields.get("model name", "") or fields.get("Model", "")
        implementer = implementer or fields.get("CPU implementer", "")
        part = part or fields.get("CPU part", "")
        flags |= set((fields.get("flags") or fields.get("Features") or "").split())
        if not fields.get("processor", "").isdecimal():
            continue
        logical += 1
        place = fields.get("physical id", ""), fields.get("core id", "")
        if place[0].isdecimal() and place[1].isdecimal():
            cores[int(fields["processor"])] = int(place[0]), int(place[1])
    if not model and implementer:
        model = f"ARM (implementer {implementer}, part {part})"
    known = dict.fromkeys(name for flag, name in INSTRUCTIONS.items() if flag in flags)
    return CpuInfo(" ".join(model.split()), cores, logical, tuple(known))


def parse_list(text: str) -> tuple[int, ...]:
    """The kernel's list of processors, `"0-3,8"` -> (0, 1, 2, 3, 8). Raises ValueError."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def parse_quota(cpu_max: str) -> float | None:
    """Version 2's cpu.max, `"150000 100000"` -> 1.5 processors; `"max 100000"` -> None."""
    words = cpu_max.split()
    if len(words) != 2 or not (words[0].isdecimal() and words[1].isdecimal()) or words[1] == "0":
        return None
    return int(words[0]) / int(words[1])


def decide(
    info: CpuInfo,
    allowed: tuple[int, ...],
    quotas: Sequence[tuple[float, str]],
    numa: tuple[NumaNode, ...],
    architecture: str,
) -> Cpu:
    """The processor; `quotas` are (processors, the file that says so) of each control group."""
    logical = info.logical or len(allowed) or 1
    allowed = allowed or tuple(range(logical))
    quota, source = min(quotas, default=(None, None))
    usable, cores = len(allowed), len({info.cores.get(cpu, (-1, cpu)) for cpu in allowed})
    if quota is not None:
        usable = max(1, min(usable, int(quota)))
    return Cpu(
        model=info.model or "unknown processor",
        architecture=architecture,
        logical=logical,
        physical=len(set(info.cores.values())) or logical,
        allowed=allowed,
        quota=quota,
        quota_source=source,
        usable=usable,
        usable_cores=min(usable, cores),
        instructions=info.instructions,
        numa=numa,
    )


def read(root: Path = Path("/")) -> Cpu:
    """The processor of the system whose /proc and /sys stand under `root`. Raises OSError."""
    info = parse_cpuinfo((root / "proc/cpuinfo").read_text())
    status = (root / "proc/self/status").read_text()
    mask = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.MULTILINE)
    return decide(
        info, parse_list(mask[1]) if mask else (), _quotas(root), _numa(root), platform.machine()
    )


def from_system() -> Cpu:
    """What the C library tells, for a sandbox that hides /proc/cpuinfo (ProcSubset=pid)."""
    allowed = tuple(sorted(os.sched_getaffinity(0)))
    info = CpuInfo("", {}, os.cpu_count() or len(allowed), ())
    return decide(info, allowed, (), (), platform.machine())


def _quotas(root: Path) -> list[tuple[float, str]]:
    try:
        membership = (root / "proc/self/cgroup").read_text()
        mounts = cgroup.parse_mounts((root / "proc/self/mountinfo").read_text())
    except OSError:
        return []
    quotas = []
    for folder in cgroup.folders("cpu", membership, mounts):
        here = root / folder.lstrip("/")
        try:
            value, source = parse_quota((here / "cpu.max").read_text()), "cpu.max"
        except OSError:
            runtime = cgroup.read_number(here / "cpu.cfs_quota_us") or -1
            period = cgroup.read_number(here / "cpu.cfs_period_us") or 0
            value = runtime / period if runtime > 0 and period > 0 else None
            source = "cpu.cfs_quota_us"
        if value is not None:
            quotas.append((value, f"{folder}/{source}"))
    return quotas


def _numa(root: Path) -> tuple[NumaNode, ...]:
    """NUMA nodes in order; empty where the kernel has no support for them."""
    nodes = []
    for folder in (root / "sys/devices/system/node").glob("node[0-9]*"):
        try:
            cpus = parse_list((folder / "cpulist").read_text())
            sizes = parse_meminfo((folder / "meminfo").read_text())
        except (OSError, ValueError):
            continue
        index = int(folder.name.removeprefix("node"))
        nodes.append(NumaNode(index, cpus, sizes.get("MemTotal"), sizes.get("MemFree")))
    return tuple(sorted(nodes, key=lambda node: node.index))
