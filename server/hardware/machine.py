"""A machine, as far as serving models on it is concerned: frozen values that travel as JSON.

`None` always means "the driver or the kernel does not tell", never zero. Sizes are bytes, rates are
bytes per second. `Machine.to_json` and `Machine.from_json` are exact inverses, so that one box can
plan for another from the output of its `holdfast doctor --json`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from server.errors import ConfigError

Severity = Literal["ok", "note", "warning", "error"]
"""`note`: worth knowing. `warning`: serving works, but worse than it could. `error`: it cannot."""

Area = Literal["gpu", "cpu", "memory", "disk", "engine", "configuration"]

DiskClass = Literal[
    "nvme", "ssd", "hdd", "network", "tmpfs", "overlay", "virtual", "unknown"
]  # `virtual`: a hypervisor's disk, whose rotational flag says nothing about what is behind it


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: what it is, what follows from it, and what to do about it."""

    severity: Severity
    area: Area
    what: str
    consequence: str = ""
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds memory of a GPU."""

    pid: int
    name: str | None
    """None: the process is not visible from here (another container, or another user's)."""
    memory: int | None


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A slice of a GPU in MIG mode; CUDA programs name it by its UUID."""

    index: int
    uuid: str
    name: str
    memory_total: int | None
    memory_free: int | None
    multiprocessors: int | None
    processes: tuple[Process, ...] | None


@dataclass(frozen=True, slots=True)
class Health:
    """What a GPU's driver says about its memory and its last failure."""

    ecc: bool | None
    """Whether ECC is on; None on cards without it."""
    ecc_uncorrected: int | None
    """Uncorrected memory errors since the driver was loaded."""
    rows_remapped: int | None
    """Memory rows replaced by spare ones after uncorrectable errors (Ampere and later)."""
    remap_pending: bool | None
    """A row or page waits for a reset of the GPU before it is replaced or retired."""
    remap_failed: bool | None
    """No spare row was left: the card has to be exchanged."""
    recovery: str | None
    """What the driver asks for after an Xid error: `none`, `reset the GPU`, `reboot`..."""
    xid_events: bool | None
    """Whether the driver reports Xid errors as events, so that a running Holdfast can listen."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU that answers."""

    index: int
    """The driver's number, as in nvidia-smi; engines are given the UUID, which never moves."""
    name: str
    uuid: str
    pci: str | None
    """PCI address such as `0000:01:00.0`."""
    memory_total: int | None
    memory_free: int | None
    memory_used: int | None
    unified: bool
    """True: the GPU has no memory of its own, the three figures are those of the machine's RAM."""
    bandwidth: int | None
    """Peak memory bandwidth in bytes/s: bus width / 8 x maximum memory clock x 2.

    Source: CUDA C++ Best Practices Guide, "Theoretical Bandwidth Calculation". NVML's clock is
    such that the factor is 2 for GDDR and HBM alike: RTX 4090, 384 bit at 10501 MHz, 1008 GB/s;
    H100 SXM, 5120 bit at 2619 MHz, 3352 GB/s.
    """
    compute_capability: tuple[int, int] | None
    processes: tuple[Process, ...] | None
    """None: the driver does not tell who uses the GPU."""
    mig: bool | None
    mig_instances: tuple[MigInstance, ...]
    health: Health
    pcie_generation: int | None
    """The best that card and slot can do together; the current one drops when the card idles."""
    pcie_width: int | None
    pcie_width_possible: int | None
    temperature: int | None
    """Degrees Celsius."""
    power_limit: float | None
    """Watts."""


@dataclass(frozen=True, slots=True)
class LostGpu:
    """A GPU that the driver knows and that does not answer; it is never placed on."""

    index: int
    name: str | None
    pci: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Link:
    """How two GPUs, by index, reach each other."""

    first: int
    second: int
    kind: Literal["nvlink", "nvswitch", "pcie"]
    lanes: int
    """NVLink lanes between the two (through a switch: those of the lesser one); 0 for PCIe."""
    bandwidth: int | None
    """Bytes/s in each direction over all NVLink lanes."""
    distance: str | None
    """What a PCIe transfer crosses: `switch`, `switches`, `host bridge`, `NUMA node`, `sockets`."""


@dataclass(frozen=True, slots=True)
class NumaNode:
    index: int
    cpus: tuple[int, ...]
    memory_total: int | None
    memory_free: int | None


@dataclass(frozen=True, slots=True)
class Cpu:
    model: str
    architecture: str
    """`x86_64`, `aarch64`..."""
    logical: int
    physical: int
    """Cores; equal to `logical` where the kernel does not tell which threads share one."""
    allowed: tuple[int, ...]
    """Logical processors that the affinity mask (taskset, cpuset, a systemd slice) leaves us."""
    quota: float | None
    """Processors' worth of time that the control group grants; None: no limit."""
    quota_source: str | None
    usable: int
    """Threads that can run at once: allowed processors, cut by the quota, at least 1."""
    usable_cores: int
    """The same in whole cores: what an engine's thread count should be."""
    instructions: tuple[str, ...]
    """Instruction sets that llama.cpp has kernels for, e.g. `avx2`, `avx512_vnni`, `neon`."""
    numa: tuple[NumaNode, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    total: int
    """RAM of the machine, whatever this process may use of it."""
    available: int
    """What can be allocated now without swapping, control groups respected."""
    limit: int | None
    """The tightest control group limit below `total`, if any."""
    limit_source: str | None
    """The file that states the limit."""
    swap_total: int
    swap_free: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds (or will hold) `path`."""

    path: str
    mount: str
    filesystem: str
    device: str
    total: int
    free: int
    """What an ordinary user may still write."""
    kind: DiskClass
    writable: bool
    read_speed: int | None = None
    """Bytes/s, measured; None unless a measurement was asked for."""
    write_speed: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    system: str
    """Kernel, release and architecture: `Linux 6.12.1 x86_64`."""
    driver: str | None
    """Version of the NVIDIA driver; None without one."""
    cuda: str | None
    """The newest CUDA that the driver supports, `13.0`."""
    gpus: tuple[Gpu, ...]
    lost_gpus: tuple[LostGpu, ...]
    links: tuple[Link, ...]
    cpu: Cpu
    memory: Memory
    disk: Disk
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str | bytes) -> Machine:
        """A machine from `to_json`, or from a whole `holdfast doctor --json` document.

        Keys that this version does not know are ignored. Raises ConfigError that names every key
        that is missing or of the wrong type.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            data = json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"this is not the JSON of a machine: {error}", next_step=_MAKE_ONE
            ) from None
        if isinstance(data, dict) and isinstance(data.get("machine"), dict):
            data = data["machine"]
        try:
            return TypeAdapter(Machine).validate_python(data)
        except ValidationError as error:
            problems = tuple(
                f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_context=False)
            )
            raise ConfigError(
                "this JSON does not describe a machine", problems=problems, next_step=_MAKE_ONE
            ) from None


_MAKE_ONE = "Make one with `holdfast doctor --json > machine.json` on that machine"
