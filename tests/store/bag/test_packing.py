"""How files are spread over media."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import StoreError
from server.store.bag.export import plan
from server.store.bag.packing import pack
from server.store.copies.sync import Original
from server.units import GIB, KIB, MIB
from tests.store.copies.receipts import held, receipt

REVISIONS = [f"{number:040x}" for number in range(8)]


def originals(*sizes: list[int]) -> list[Original]:
    return [
        Original(
            receipt(
                *(held(f"file-{n}", size) for n, size in enumerate(files)),
                repository=f"org/model-{number}",
                revision=REVISIONS[number],
            ),
            Path("/store"),
        )
        for number, files in enumerate(sizes)
    ]


SIZES = st.lists(st.lists(st.integers(0, 8 * MIB), min_size=1, max_size=12), min_size=1, max_size=5)


@given(SIZES, st.integers(9 * MIB, 40 * MIB))
def test_every_file_is_in_one_bag_and_every_bag_fits(sizes: list[list[int]], media: int) -> None:
    bags = pack(originals(*sizes), media)
    paths = [item.path for bag in bags for item in bag]
    assert len(paths) == len(set(paths)) == sum(map(len, sizes))
    for bag in bags:
        assert sum(item.held.bytes for item in bag) < media
    assert [item.path for bag in bags for item in bag] == [
        item.path for bag in pack(originals(*sizes), media) for item in bag
    ]


@given(SIZES, st.integers(9 * MIB, 40 * MIB))
def test_no_two_bags_would_fit_into_one(sizes: list[list[int]], media: int) -> None:
    """First fit leaves at most one bag that is less than half full."""
    bags = pack(originals(*sizes), media)
    content = sorted(sum(item.held.bytes for item in bag) for bag in bags)
    assert all(one > media / 2 - 2 * MIB for one in content[1:])


def test_the_largest_go_first() -> None:
    bags = pack(originals([3 * MIB, 5 * MIB, 6 * MIB, 4 * MIB]), 10 * MIB)
    assert [[item.held.bytes // MIB for item in bag] for bag in bags] == [[3, 6], [5, 4]]


def test_without_a_size_all_is_one_bag() -> None:
    assert len(pack(originals([800 * GIB], [1]), None)) == 1


def test_a_file_too_large_is_named_with_the_least_size_that_works() -> None:
    found = originals([10 * MIB, 3 * MIB])
    with pytest.raises(StoreError, match=r"file-0 of org/model-0 fits on no such medium") as caught:
        pack(found, 10 * MIB)
    least = int(caught.value.next_step.split()[3])
    assert 10 * MIB < least < 10 * MIB + 200 * KIB
    assert len(pack(found, least)) == 2
    with pytest.raises(StoreError):
        pack(found, least - 1)


def test_the_plan_is_the_same_every_time_and_another_for_other_sizes() -> None:
    found = originals([5 * MIB, 5 * MIB, 5 * MIB])
    first, again, other = (plan(found, size) for size in (8 * MIB, 8 * MIB, 9 * MIB))
    assert first == again
    assert first[0].group != other[0].group
    assert [bag.name for bag in first] == [f"{first[0].group}-{n}-of-3" for n in (1, 2, 3)]
    assert plan(found)[0].name == ""


def test_nothing_is_no_export() -> None:
    with pytest.raises(StoreError, match="nothing to export"):
        plan([])
