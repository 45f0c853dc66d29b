"""The whole plan as a person reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.cli.plan.draft import Draft, Step
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


@pytest.mark.parametrize(
    ("gap", "told"), [(0.0213, "at most 2.1%"), (0.0001, "very little"), (1.295, "a good deal")]
)
def test_what_is_not_proven_says_by_how_much(gap: float, told: str) -> None:
    text = summary(draft(replace(PLAN, proven=False, gap=gap)))
    assert text.endswith(f"Not proven: a better plan may exist, by {told}.")


def test_why_each_is_where_it_is() -> None:
    text = told(draft())
    assert "B  the most capable model above 8 tokens/s; limited by memory of GPU 1." in text
    assert "D  no room beside qwen3.5-122b-a10b; limited by memory of GPU 1." in text


def test_a_reason_that_several_share_is_told_once() -> None:
    twin = replace(SMALL, wish=BIG.wish, option=replace(SMALL.option, capability=1.0))
    text = told(draft(replace(PLAN, assignments=(SMALL, twin, BIG))))
    assert "A C  it fits beside the others; limited by the model's context." in text
    assert text.count("it fits beside the others") == 1


def test_a_model_without_a_place_is_named_with_the_numbers() -> None:
    text = told(draft())
    assert (
        "Not in the plan\n   qwen3.5-397b-a17b: the smallest build, ud-iq1_m, takes 104.2" in text
    )
    assert "qwen3.5-9b:q8_0" not in text  # a way that lost is for --explain


def test_the_next_best_and_what_would_help() -> None:
    text = told(draft())
    assert (
        "Next best\n   qwen3.5-27b resident on GPU 1. It would lose qwen3.5-122b's place." in text
    )
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


def test_what_to_do_next_is_told_with_the_command() -> None:
    text = told(draft(steps=(Step("To fetch 20.0 GiB", "holdfast pull a b"),)))
    assert "\nTo fetch 20.0 GiB:\n   holdfast pull a b\n" in text


def test_models_that_are_not_in_the_store_share_a_line() -> None:
    absent = frozenset({"qwen3.5-397b-a17b", "qwen3.5-9b"})
    text = told(draft(replace(PLAN, assignments=(BIG,)), unheld=absent))
    assert "   not in the store: qwen3.5-9b, qwen3.5-397b-a17b." in text
    assert "ud-iq1_m" not in text


def test_commands_are_shown_when_asked_for() -> None:
    assert "llama-server --host" not in told(draft())
    assert "--commands" in told(draft())
    assert "CUDA_VISIBLE_DEVICES=GPU-0 /opt/llama-server --host '/run/a b.sock'" in told(
        draft(), commands=True
    )


def _large(reason: str, short: int) -> Rejection:
    return Rejection("m:b", reason, "large", short={"ram": short})


def _slow(reason: str, decode: float) -> Rejection:
    return Rejection("m:b", reason, "slow", decode=decode)


@pytest.mark.parametrize(
    ("rejections", "expected"),
    [
        ([], None),
        ([HUGE], HUGE),
        ([_large("far", 9), _large("near", 2)], "near"),
        ([_large("x", 1), Rejection("m", "y", "beaten")], "y"),
        ([Rejection("m:b", "beaten", "beaten"), _large("near", 2)], "near"),
        ([_slow("slow", 7.9), _large("near", 2)], "near"),
        ([Rejection("m:b", "beaten", "beaten"), _slow("slow", 0.5)], "slow"),
        ([_slow("slow", 0.5), _slow("nearly", 7.9)], "nearly"),
    ],
)
def test_the_reason_that_says_most(
    rejections: list[Rejection], expected: Rejection | str | None
) -> None:
    found = chief(rejections)
    assert found == expected or (found is not None and found.reason == expected)
