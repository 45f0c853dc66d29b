"""The parts in which a file goes to a bucket, within S3's limits."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.store.copies.bucket import part_bytes
from server.units import GIB, MIB, TIB


@given(st.integers(1, 5 * TIB))
@example(5 * TIB)
@example(10_000 * 16 * MIB)
@example(10_000 * 16 * MIB + 1)
def test_parts_are_within_the_limits(size: int) -> None:
    part = part_bytes(size)
    assert 5 * MIB <= part <= 5 * GIB
    assert -(-size // part) <= 10_000


@pytest.mark.parametrize(
    ("size", "part"), [(1, 16), (50 * GIB, 16), (160 * GIB, 17), (5 * TIB, 525)]
)
def test_parts_are_no_larger_than_they_must_be(size: int, part: int) -> None:
    assert part_bytes(size) == part * MIB
