"""What to build for a machine: flags, the name under which the result is kept, and jobs (pure)."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass

from server.units import GIB

# LLAVA_BUILD=OFF: the package would add llama.cpp's mtmd a second time, and CMake stops. The
# libraries land in lib/ beside the bin/ of the programs, wherever the two are moved together.
_FLAGS = (
    "-DLLAVA_BUILD=OFF",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_TOOLS_INSTALL=ON",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib:$ORIGIN/../llama_cpp/lib:$ORIGIN",
)
_JOB_MEMORY = 3 * GIB // 2
"""One compiler at work on llama.cpp's largest files; nvcc takes about as much for each job."""


@dataclass(frozen=True, slots=True)
class Cuda:
    compiler: str
    """Path of nvcc."""
    release: str
    """`12.8`."""
    capabilities: tuple[str, ...]
    """Of the GPUs here, such as `9.0`: nvcc compiles for these alone."""


@dataclass(frozen=True, slots=True)
class Host:
    """What of a machine goes into a build: llama.cpp compiles for the processor that it runs on."""

    architecture: str
    processor: str
    instructions: tuple[str, ...]
    cores: int
    memory_available: int
    cuda: Cuda | None


@dataclass(frozen=True, slots=True)
class Recipe:
    version: str
    """Of llama-cpp-python."""
    flags: tuple[str, ...]
    """For CMake."""
    key: str
    """Folder of the result: the same key means that the result can be used as it is."""
    cuda_compiler: str | None
    jobs: int
    disk: int
    """Bytes that must be free: more than the build was seen to take, since nothing is worse than
    a disk that fills after minutes of work."""


def recipe(version: str, host: Host, jobs: int | None = None) -> Recipe:
    """How to build `version` for `host`, with as many jobs as its cores and memory bear."""
    flags = _FLAGS + (("-DGGML_CUDA=ON",) if host.cuda else ())
    # Not the Python version: the wheel is tagged py3-none. The C library, as a home folder may be
    # shared between machines.
    made_for = (flags, host.processor, host.instructions, host.cuda, platform.libc_ver())
    digest = hashlib.sha256(repr(made_for).encode()).hexdigest()[:12]
    kind = "cuda" if host.cuda else "cpu"
    bearable = min(host.cores, host.memory_available // _JOB_MEMORY)
    return Recipe(
        version=version,
        flags=flags,
        key=f"llama-cpp-python-{version}-{host.architecture}-{kind}-{digest}",
        cuda_compiler=host.cuda.compiler if host.cuda else None,
        jobs=jobs or max(1, bearable),
        disk=(8 if host.cuda else 2) * GIB,
    )
