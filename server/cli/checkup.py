"""What `holdfast doctor` found, and the decisions over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.engines.binary import Binary, Candidate
from server.engines.vllm_binary import Interpreter
from server.errors import EngineMissing
from server.hardware import Finding, Gpu, Machine


@dataclass(frozen=True, slots=True)
class Engines:
    llama_servers: tuple[Candidate, ...]
    """Every program that was considered, in the order in which they are tried."""
    chosen: Binary | None
    devices: tuple[str, ...] | None
    """GPUs that the chosen program can use, as it names them; None: not asked, or no answer."""
    vllm: Interpreter | None
    """The Python that runs vLLM; None if there is none, or it cannot."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the configuration files come to."""

    files: tuple[Path, ...]
    models: int
    builds: int
    address: str
    clouds: tuple[str, ...] = ()
    """Ids of the providers that can be asked."""
    without_key: Mapping[str, str] = field(default_factory=dict)
    """What to do about it, by the id of each provider that cannot."""


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
        vllm = self.engines.vllm
        if not self.engines.devices and (vllm is None or vllm.cpu):
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


def vllm_without_gpu(vllm: Interpreter) -> Finding:
    """The machine has a GPU, and its vLLM is the build for CPUs."""
    return Finding(
        "warning",
        "engine",
        f"{vllm.path} has vLLM's build for CPUs, {vllm.version}",
        "no build for vLLM is placed on a GPU",
        "Run scripts/setup --vllm, which takes the build for the GPUs that are here",
    )


def broken_vllm(error: EngineMissing) -> Finding:
    """A Python was named or set up for vLLM, and cannot run it."""
    what = f"{error.what}: {error.why}" if error.why else error.what
    return Finding("warning", "engine", what, "builds for vLLM are not served", error.next_step)
