from __future__ import annotations

import pytest

from server.planning.sizing import reserve, threads
from server.units import GIB, MIB


@pytest.mark.parametrize(
    ("memory", "kept"), [(0, 0), (GIB, GIB // 10), (40 * GIB, 4 * GIB), (999 * GIB, 4 * GIB)]
)
def test_the_reserve(memory: int, kept: int) -> None:
    assert reserve(memory) == kept


@pytest.mark.parametrize(
    ("weights", "cores", "count"),
    [(7 * MIB, 16, 1), (64 * MIB, 16, 16), (5 * GIB, 2, 2), (5 * GIB, 0, 1)],
)
def test_a_tiny_model_is_computed_by_one_thread(weights: int, cores: int, count: int) -> None:
    assert threads(weights, cores) == count
