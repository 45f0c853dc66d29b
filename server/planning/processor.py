"""What a processor can do for a model, estimated: nothing tells how fast RAM is, or a core."""

from __future__ import annotations

from server.hardware.machine import Cpu

_CORE_BANDWIDTH = 12.8e9
"""Bytes/s of RAM that one core reads at most. Fitted: at _EFFICIENCY of it (planning/speed.py) two
cores of an EPYC 9004 generate as fast as llama-server was measured with the 0.8B shape."""
_DESKTOP_BANDWIDTH = 51.2e9
"""Two channels of DDR4-3200, the least that a desktop of the last years has."""
_SERVER_BANDWIDTH = 204.8e9
"""Eight channels of DDR4-3200. A second socket is not counted: an engine's threads on both wait for
each other's memory."""
_DESKTOP_CORES = 16
_CLOCK = 3e9
"""Cycles/s with all cores busy."""
_OPERATIONS = (
    ("amx_int8", 512), ("avx512_vnni", 128), ("avx_vnni", 128), ("i8mm", 128), ("dotprod", 64),
    ("avx2", 48), ("neon", 32), ("avx", 16),
)  # fmt: skip
"""Multiplications and additions of 8-bit numbers that a core does in a cycle, by the best of its
instruction sets: two 256-bit units for VNNI (64 multiply-adds), a third of their rate where AVX2
needs three instructions for it, half of two 128-bit units' for NEON. AMX could do 2048 and is held
back by unpacking the weights: a quarter of it."""
_LEAST_OPERATIONS = 8


def bandwidth(cpu: Cpu) -> float:
    """Peak bytes/s at which the usable cores read RAM."""
    channels = _DESKTOP_BANDWIDTH if cpu.physical <= _DESKTOP_CORES else _SERVER_BANDWIDTH
    return min(cpu.usable_cores * _CORE_BANDWIDTH, channels)


def compute(cpu: Cpu) -> float:
    """Peak operations/s of the usable cores on the 8-bit numbers that llama.cpp multiplies
    quantized weights as."""
    best = next((rate for name, rate in _OPERATIONS if name in cpu.instructions), _LEAST_OPERATIONS)
    return cpu.usable_cores * best * _CLOCK
