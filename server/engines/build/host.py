"""This machine, as far as a build depends on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from server.engines.build.recipe import Cuda, Host
from server.hardware import adapters, cpu, memory

_NVCC_FOLDERS = ("/usr/local/cuda/bin", "/opt/cuda/bin")  # NVIDIA's packages leave PATH alone


def read() -> Host:
    """Raises OSError where /proc cannot be read."""
    processor = cpu.read()
    return Host(
        architecture=processor.architecture,
        processor=processor.model,
        instructions=processor.instructions,
        cores=processor.usable,
        memory_available=memory.read().available,
        cuda=_cuda() if has_nvidia_gpu() else None,
    )


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver offers a GPU (under WSL it is called dxg)."""
    return any(re.fullmatch(r"nvidia\d+|dxg", node) for node in adapters.read().nodes)


def has_compilers() -> bool:
    """Whether a C and a C++ compiler are here, by CMake's names or in CC and CXX."""
    c = os.environ.get("CC"), "cc", "gcc", "clang"
    cxx = os.environ.get("CXX"), "c++", "g++", "clang++"
    return all(any(name and shutil.which(name) for name in names) for names in (c, cxx))


def _cuda() -> Cuda | None:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_NVCC_FOLDERS))
    compiler = os.environ.get("CUDACXX") or shutil.which("nvcc", path=path)
    if compiler is None:
        return None
    release = re.search(r"release (\d+\.\d+)", _output([compiler, "--version"]))
    capabilities = _output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
    return Cuda(
        compiler=compiler,
        release=release[1] if release else "unknown",
        capabilities=tuple(sorted(set(re.findall(r"^\d+\.\d+$", capabilities, re.MULTILINE)))),
    )


def _output(command: list[str]) -> str:
    """What a program prints; nothing where it is absent, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
