"""The table of what goes where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.cli.plan.screen import Screen
from server.cli.plan.table import ranges, rate, table, tokens, where
from server.planning.plan import Assignment
from server.units import GIB
from tests.cli.plan.drafts import BIG, PLAN, SMALL, draft, gpu, option, rig


def drawn(width: int | None) -> list[str]:
    return [line.plain for line in table(draft(), Screen(width))]


def test_models_stand_below_how_they_are_kept() -> None:
    begins = [line.split()[0] for line in drawn(80) if line.startswith("   ")]
    assert begins == ["MODEL", "resident:", "asleep:", "on"]
    rows = [line for line in drawn(80) if line[:1] in "ABCD"]
    assert [row.split()[:3] for row in rows] == [
        ["A", "qwen3.5-9b:q4_k_m", "GPU"],
        ["B", "qwen3.5-122b-a10b:ud-q4_k_xl", "GPU"],
        ["C", "qwen3.5-4b:bf16", "GPU"],
        ["D", "qwen3.5-27b:q4_k_m", "GPU"],
    ]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (80, "MODEL ON SLOTS GPU GIB RAM GIB TOK/S"),
        (92, "MODEL ON SLOTS GPU GIB RAM GIB TOK/S LOADS IN"),
        (None, "MODEL ON SLOTS GPU GIB RAM GIB TOK/S ALL SLOTS PROMPT LOADS IN ENGINE LIMITED BY"),
    ],
)
def test_a_wider_terminal_shows_more(width: int | None, columns: str) -> None:
    lines = drawn(width)
    assert lines[0].split() == columns.split()
    assert all(width is None or len(line) <= width for line in lines)


def test_a_size_that_nobody_told_is_marked() -> None:
    (row,) = (line for line in drawn(80) if "122b" in line)
    assert "~29.0    ~60.0" in row
    assert drawn(80)[-1].startswith("~ estimated")


def test_without_gpus_there_is_no_column_for_their_memory() -> None:
    alone = Assignment(
        SMALL.wish, option("qwen3.5-9b:q4_k_m", {"ram": 8 * GIB}), "resident", "", ""
    )
    made = draft(replace(PLAN, assignments=(alone,)), rig=rig(0))
    head, _, row = [line.plain for line in table(made, Screen(80))]
    assert "GPU GIB" not in head
    assert row.split()[2:7] == ["CPU", "4", "x", "128K", "8.0"]


@pytest.mark.parametrize(
    ("gpus", "changes", "expected"),
    [
        ((), {}, "CPU"),
        (("GPU-0",), {}, "GPU 0"),
        (("GPU-0", "GPU-1"), {}, "GPU 0-1"),
        (("GPU-0", "GPU-2"), {}, "GPU 0,2"),
        (("GPU-0",), {"cpu_experts": 3}, "GPU 0+RAM"),
        (("GPU-0",), {"gpu_layers": 12}, "GPU 0+RAM"),
    ],
)
def test_where(gpus: tuple[str, ...], changes: dict[str, int], expected: str) -> None:
    made = option("qwen3.5-9b:q4_k_m", {"ram": 2**33}, gpus, **changes)
    assert where(made.deployment, rig(3)) == expected


def test_a_slice_of_a_gpu_has_a_short_name() -> None:
    slice_ = gpu(0, name="GPU 0, MIG 2 (NVIDIA A100-SXM4-80GB MIG 1g.10gb)", mig=True)
    made = option("qwen3.5-9b:q4_k_m", {"GPU-0": GIB * 2}, ("GPU-0",), cpu_experts=1)
    assert where(made.deployment, replace(rig(1), gpus=(slice_,))) == "MIG 0.2+RAM"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([0], "0"), ([3, 1, 2], "1-3"), ([0, 2, 3, 7], "0,2-3,7"), ([], "")],
)
def test_ranges(numbers: list[int], expected: str) -> None:
    assert ranges(numbers) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(131072, "128K"), (262144, "256K"), (4096, "4K"), (10000, "10000")]
)
def test_tokens(count: int, expected: str) -> None:
    assert tokens(count) == expected


@pytest.mark.parametrize(
    ("speed", "expected"), [(3.14, "3.1"), (9.96, "10"), (43.2, "43"), (0.04, "0.0")]
)
def test_rate(speed: float, expected: str) -> None:
    assert rate(speed) == expected


def test_the_ablest_comes_first() -> None:
    able = replace(SMALL, option=replace(SMALL.option, capability=70.0))
    made = draft(replace(PLAN, assignments=(able, BIG)))
    assert [made.mark(one) for one in (BIG, able)] == ["A", "B"]


def test_letters_end_some_time() -> None:
    many = [replace(SMALL, reason=str(number)) for number in range(60)]
    made = draft(replace(PLAN, assignments=tuple(many)))
    assert "".join(made.mark(one) for one in made.ordered)[50:] == "yz########"
