"""What a processor is taken to do, by its cores and instruction sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.hardware import Cpu
from server.hardware.imagined import imagined
from server.planning import processor


def cpu(**values: object) -> Cpu:
    return replace(imagined("cpu+16G").cpu, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cores", "physical", "gigabytes_a_second"),
    [(1, 8, 12.8), (2, 8, 25.6), (8, 8, 51.2), (16, 16, 51.2), (2, 96, 25.6), (96, 96, 204.8)],
)
def test_bandwidth_of_ram(cores: int, physical: int, gigabytes_a_second: float) -> None:
    found = processor.bandwidth(cpu(usable_cores=cores, physical=physical))
    assert found / 1e9 == pytest.approx(gigabytes_a_second)


@pytest.mark.parametrize(
    ("instructions", "gigaflops"),
    [
        ((), 24),
        (("avx",), 48),
        (("avx", "avx2"), 144),
        (("avx2", "avx_vnni"), 384),
        (("avx2", "avx512f", "avx512_vnni"), 384),
        (("avx2", "avx512_vnni", "amx_int8"), 1536),
        (("neon",), 96),
        (("neon", "dotprod"), 192),
        (("neon", "dotprod", "i8mm"), 384),
    ],
)
def test_compute_of_a_core(instructions: tuple[str, ...], gigaflops: float) -> None:
    found = processor.compute(cpu(usable_cores=4, instructions=instructions))
    assert found / 4e9 == pytest.approx(gigaflops)
