from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.engines.build.vllm_recipe import VllmHost, vllm_recipe
from server.errors import EngineMissing

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"
BOX = VllmHost(
    architecture="x86_64",
    glibc=(2, 36),
    instructions=("avx", "avx2", "fma"),
    python=(3, 11),
    has_gpu=False,
    driver=None,
)
ARM = replace(BOX, architecture="aarch64", instructions=("asimd",))


@pytest.mark.parametrize(
    ("host", "cuda"),
    [
        (BOX, False),
        (replace(BOX, glibc=(2, 31), python=(3, 14)), False),
        (ARM, False),
        (replace(BOX, driver="580.95.05"), False),  # a driver whose card has gone
        (replace(BOX, has_gpu=True, driver="580.95.05"), True),
        (replace(BOX, has_gpu=True, driver="1000.1"), True),
        (replace(BOX, has_gpu=True), True),  # WSL: the kernel does not tell
        (replace(BOX, has_gpu=True, instructions=()), True),
        (replace(ARM, has_gpu=True, driver="580.95.05"), True),
    ],
)
def test_which_vllm_fits(host: VllmHost, cuda: bool) -> None:
    assert vllm_recipe(host).cuda is cuda


@pytest.mark.parametrize(
    ("host", "why", "next_step"),
    [
        (replace(BOX, architecture="riscv64"), "no wheel for riscv64", "llama-server"),
        (replace(BOX, glibc=(2, 17)), "need glibc 2.31 or newer, and here is 2.17", "llama"),
        (replace(BOX, glibc=None), "here is another C library", "llama-server"),
        (replace(BOX, python=(3, 15)), "no wheels for Python 3.15", "3.11 to 3.14"),
        (replace(BOX, python=(3, 10)), "no wheels for Python 3.10", "3.11 to 3.14"),
        (replace(BOX, instructions=("avx",)), "computes with AVX2", "llama-server"),
        (
            replace(BOX, has_gpu=True, driver="550.54.15"),
            "the NVIDIA driver here, 550.54.15, is older than 580",
            "Update the NVIDIA driver to 580",
        ),
    ],
)
def test_where_there_is_none_it_says_why(host: VllmHost, why: str, next_step: str) -> None:
    with pytest.raises(EngineMissing) as caught:
        vllm_recipe(host)
    assert why in caught.value.why
    assert next_step in caught.value.next_step


def test_cuda_is_locked_to_the_last_hash_and_stays_out_of_the_build_for_cpus() -> None:
    gpu, plain = vllm_recipe(replace(BOX, has_gpu=True)), vllm_recipe(BOX)
    assert (gpu.hashed, plain.hashed) == (True, False)
    assert gpu.disk > plain.disk
    held = "".join((REQUIREMENTS / name).read_text() for name in plain.locks)
    assert "\ntorch==2.13.0+cpu\n" in held
    assert "nvidia" not in held
    assert "\ntriton==" not in held
