"""Bars of memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cli.plan.bars import bars, cells, segments
from server.cli.plan.screen import Screen
from server.planning.rig import RAM_ID
from server.units import GIB
from tests.cli.plan.drafts import PLAN, draft, gpu, rig


@pytest.mark.parametrize(
    ("sizes", "width", "expected"),
    [
        ([1, 1], 10, [5, 5]),
        ([3, 1], 8, [6, 2]),
        ([0, 5], 4, [0, 4]),
        ([1000, 1], 10, [9, 1]),  # what is there is seen
        ([1000, 1, 1, 1], 5, [2, 1, 1, 1]),
        ([1, 1, 1], 10, [4, 3, 3]),
        ([0, 0], 10, [0, 0]),
        ([5, 4, 3], 2, [1, 1, 0]),
    ],
)
def test_cells(sizes: list[int], width: int, expected: list[int]) -> None:
    assert cells(sizes, width) == expected


@given(
    st.lists(st.integers(0, 2**45), max_size=20).filter(any),
    st.integers(1, 200),
)
def test_cells_fill_the_width_and_hide_nothing(sizes: list[int], width: int) -> None:
    shared = cells(sizes, width)
    assert sum(shared) == width
    assert min(shared) >= 0
    assert all(size or not count for size, count in zip(sizes, shared, strict=True))
    there = sum(1 for size in sizes if size)
    assert sum(1 for count in shared if count) == min(there, width) or there < width
    if there <= width:
        assert all(count or not size for size, count in zip(sizes, shared, strict=True))


def test_a_bar_for_each_memory() -> None:
    lines = [line.plain for line in bars(draft(), Screen(80))]
    assert [line.split()[0] for line in lines] == ["GPU", "GPU", "RAM", "░"]
    first = lines[0]
    assert first.index("A") < first.index("B█") < first.index("░") < first.index("▒")
    assert first.endswith("19.0 of 22.0 GiB")
    assert len({line.rindex("▒") for line in lines[:3]}) == 1
    assert all(len(line) <= 80 for line in lines)


def test_what_is_loaded_on_demand_is_in_no_bar() -> None:
    assert all("D" not in line.plain for line in bars(draft(), Screen(80)))


def test_a_sleeper_holds_what_it_holds_asleep() -> None:
    made = draft()
    sizes = {s.mark: s.bytes for s in segments(made, made.plan.pools[2]) if s.mark}
    assert sizes == {"B": 60 * GIB, "C": 9 * GIB}


def test_a_wide_terminal_names_the_products() -> None:
    wide = [line.plain for line in bars(draft(), Screen(120))]
    assert wide[0].startswith("GPU 0 (NVIDIA GeForce RTX 4090)")
    assert all(len(line) <= 120 for line in wide)


def test_without_block_characters() -> None:
    lines = [line.plain for line in bars(draft(), Screen(80, unicode=False))]
    assert all(line.isascii() for line in lines)
    assert "A=" in lines[0]


def test_off_a_terminal_there_are_numbers() -> None:
    lines = [line.plain for line in bars(draft(), Screen(None))]
    assert lines[2] == (
        "RAM: 256.0 GiB = B 60.0 GiB + C 9.0 GiB + left 171.0 GiB "
        "+ taken by others or reserved 16.0 GiB"
    )


def test_a_gpu_that_uses_ram_is_part_of_its_bar() -> None:
    unified = replace(rig(0), gpus=(gpu(0, pool=RAM_ID), gpu(1, pool=RAM_ID)))
    (ram,) = (use for use in PLAN.pools if use.pool == RAM_ID)
    made = draft(rig=unified)
    sizes = {s.mark: s.bytes for s in segments(made, ram) if s.mark}
    assert sizes["B"] == (11 + 18 + 60) * GIB
