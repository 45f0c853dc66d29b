"""The whole plan as a person reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.cli.plan.draft import Draft
from server.cli.plan.report import chief, report, summary
from server.cli.plan.screen import Screen
from server.hardware.machine import Process
from server.planning.plan import Rejection
from server.units import GIB
from tests.cli.plan.drafts import BIG, HUGE, PLAN, SMALL, draft, gpu, rig


def told(made: Draft, width: int | None = None, *, commands: bool = False) -> str:
    screen = Screen(width)
    return screen.render(report(made, screen, commands=commands))


def test_it_begins_with_what_it_is_for_and_what_comes_of_it() -> None:
    assert told(draft()).splitlines()[:3] == [
        "Plan for 2x4090+256G",
        "2 x NVIDIA GeForce RTX 4090 (24.0 GiB), 256.0 GiB of RAM, 32 cores",
        "4 of 5 models: 2 resident, 1 asleep, 1 on demand. Proven: no better plan exists.",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_it_fits_the_terminal(width: int) -> None:
    lines = told(draft(), width).splitlines()
    table = [line for line in lines if "qwen3.5-122b-a10b:ud-q4_k_xl  " in line]
    assert all(len(line) <= max(width, 80) for line in lines)
    assert table


def test_what_is_not_proven_says_by_how_much() -> None:
    assert summary(draft(replace(PLAN, proven=False, gap=0.0213))).endswith(
        "Not proven: a better plan could exist, by at most 2.1%."
    )


def test_why_and_what_it_costs_others() -> None:
    text = told(draft())
    assert "B  the most capable model above 8 tokens/s; limited by memory of GPU 1." in text
    assert "makes qwen3.5-122b-a10b:ud-q4_k_xl go when loaded." in text


def test_a_model_without_a_place_is_named_with_the_numbers() -> None:
    text = told(draft())
    assert (
        "Not in the plan\n   qwen3.5-397b-a17b: the smallest build, ud-iq1_m, takes 104.2" in text
    )
    assert "qwen3.5-9b:q8_0" not in text  # a way that lost is for --explain


def test_the_next_best_and_what_would_help() -> None:
    text = told(draft())
    assert "Next best\n   qwen3.5-27b resident on GPU 1: qwen3.5-122b-a10b would be on" in text
    assert "What would help\n   8.0 GiB more on GPU 1: qwen3.5-27b would be resident." in text


def test_nothing_placed_is_no_empty_table() -> None:
    text = told(draft(replace(PLAN, assignments=(), remedies=(), next_best=None)))
    assert "0 of 5 models. Proven" in text
    for heading in ("ON  ", "Memory", "Why", "Next best", "What would help"):
        assert heading not in text
    assert "qwen3.5-397b-a17b" in text


def test_a_model_of_which_nobody_says_anything_is_not_passed_over() -> None:
    text = told(draft(replace(PLAN, rejections=())))
    assert "qwen3.5-397b-a17b: no build of it can be placed here." in text


def test_a_gpu_that_is_left_out_or_shared_is_told() -> None:
    busy = gpu(0, used_by=(Process(4711, "python", 18 * GIB), Process(1, None, None)))
    lost = "GPU 1 does not answer: it fell off the bus"
    text = told(draft(rig=replace(rig(2), gpus=(busy, gpu(1)), left_out=(lost,))))
    assert f"! {lost}" in text
    assert (
        "GPU 0 is also used by python (pid 4711) 18.0 GiB, "
        "a process of another container or user (pid 1)." in text
    )


def test_here_what_is_absent_is_to_be_pulled_first() -> None:
    text = told(draft(here=True, subject="this machine"))
    assert "not in the store yet, 20.0 GiB:\n   holdfast pull qwen3.5-27b:q4_k_m" in text
    assert "--apply" not in text


def test_here_with_everything_there_it_can_be_done() -> None:
    text = told(draft(replace(PLAN, assignments=(BIG, SMALL)), here=True))
    assert "holdfast plan --apply" in text


def test_imagined_hardware_is_neither_pulled_for_nor_applied() -> None:
    text = told(draft())
    assert "holdfast pull" not in text
    assert "--apply" not in text


def test_commands_are_shown_when_asked_for() -> None:
    assert "llama-server --host" not in told(draft())
    assert "--commands" in told(draft())
    assert "CUDA_VISIBLE_DEVICES=GPU-0 /opt/llama-server --host '/run/a b.sock'" in told(
        draft(), commands=True
    )


@pytest.mark.parametrize(
    ("rejections", "expected"),
    [
        ([], None),
        ([HUGE], HUGE),
        ([Rejection("m:b", "x", {"ram": 1}), Rejection("m", "y")], "y"),
        ([Rejection("m:b", "far", {"ram": 9}), Rejection("m:c", "near", {"ram": 2})], "near"),
        ([Rejection("m:b", "slow"), Rejection("m:c", "near", {"ram": 2})], "near"),
    ],
)
def test_the_reason_that_says_most(
    rejections: list[Rejection], expected: Rejection | str | None
) -> None:
    found = chief(rejections)
    assert found == expected or (found is not None and found.reason == expected)
