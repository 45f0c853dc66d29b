from __future__ import annotations

from dataclasses import replace

import pytest

from server.engines.build.recipe import Cuda, Host, recipe
from server.units import GIB

CUDA = Cuda(compiler="/usr/local/cuda/bin/nvcc", release="12.8", capabilities=("9.0",))
HOST = Host(
    architecture="x86_64",
    processor="AMD EPYC",
    instructions=("avx2", "avx512f"),
    cores=16,
    memory_available=64 * GIB,
    cuda=None,
)


def test_cuda_is_on_where_the_host_has_it() -> None:
    plain, gpu = recipe("0.3.36", HOST), recipe("0.3.36", replace(HOST, cuda=CUDA))
    assert "-DGGML_CUDA=ON" not in plain.flags
    assert gpu.flags == (*plain.flags, "-DGGML_CUDA=ON")
    assert (plain.cuda_compiler, gpu.cuda_compiler) == (None, CUDA.compiler)
    assert gpu.disk > plain.disk
    assert plain.key.startswith("llama-cpp-python-0.3.36-x86_64-cpu-")
    assert gpu.key.startswith("llama-cpp-python-0.3.36-x86_64-cuda-")


@pytest.mark.parametrize(
    "other",
    [
        replace(HOST, architecture="aarch64"),
        replace(HOST, processor="Intel Xeon"),
        replace(HOST, instructions=("avx2",)),
        replace(HOST, cuda=CUDA),
    ],
)
def test_what_changes_the_result_changes_the_key(other: Host) -> None:
    assert recipe("0.3.36", other).key != recipe("0.3.36", HOST).key


def test_a_build_for_one_gpu_is_not_used_for_another() -> None:
    keys = {
        recipe("0.3.36", replace(HOST, cuda=cuda)).key
        for cuda in (
            CUDA,
            replace(CUDA, release="13.0"),
            replace(CUDA, capabilities=("8.9",)),
            replace(CUDA, capabilities=("8.9", "9.0")),
        )
    }
    assert len(keys) == 4


def test_what_does_not_change_the_result_does_not_change_the_key() -> None:
    smaller = replace(HOST, cores=2, memory_available=GIB)
    assert recipe("0.3.36", smaller).key == recipe("0.3.36", HOST, jobs=3).key
    assert recipe("0.3.37", HOST).key != recipe("0.3.36", HOST).key


@pytest.mark.parametrize(
    ("cores", "memory", "asked", "jobs"),
    [
        (16, 64 * GIB, None, 16),
        (16, 6 * GIB, None, 4),
        (2, 64 * GIB, None, 2),
        (8, GIB // 2, None, 1),
        (8, 64 * GIB, 1, 1),
        (1, GIB, 4, 4),
    ],
)
def test_jobs_fit_cores_and_memory(cores: int, memory: int, asked: int | None, jobs: int) -> None:
    host = replace(HOST, cores=cores, memory_available=memory)
    assert recipe("0.3.36", host, asked).jobs == jobs
