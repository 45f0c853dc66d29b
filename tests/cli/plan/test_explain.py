"""Everything about one model."""

from __future__ import annotations

from server.cli.plan.document import explanation
from server.cli.plan.explain import explain
from server.cli.plan.screen import Screen
from server.units import GIB
from tests.cli.plan.drafts import BIG, PLAN, SMALL, draft, option


def told(model: str, width: int | None = None) -> str:
    screen = Screen(width)
    return screen.render(explain(draft(), model, screen))


def test_bytes_by_component_and_device() -> None:
    text = told("qwen3.5-122b-a10b")
    assert "                GPU 0     GPU 1       RAM" in text
    assert "   weights   10.0 GiB  17.0 GiB  59.0 GiB" in text
    assert "   KV cache   1.0 GiB   1.0 GiB   1.0 GiB" in text
    assert "   in all    11.0 GiB  18.0 GiB  60.0 GiB" in text


def test_the_ways_that_lost_stand_below_the_one_that_won() -> None:
    slow = option("qwen3.5-9b:q8_0", {"GPU-0": 9 * GIB}, ("GPU-0",), token_seconds=1.5)
    large = option("qwen3.5-9b:bf16", {"GPU-0": 19 * GIB}, ("GPU-0",), engine="vllm")
    made = draft(options=(slow, large, SMALL.option, BIG.option))
    lines = Screen(None).render(explain(made, "qwen3.5-9b", Screen(None))).splitlines()
    assert "Ways to run it: 3, of each build and place the best" in lines
    ways = [" ".join(line.split()) for line in lines if "x 128K" in line]
    assert ways == [
        "* q4_k_m GPU 0 4 x 128K 8.0 43 98% chosen",
        "bf16 GPU 0 4 x 128K 19.0 43 98% short of 8.0 GiB on GPU 0",
        "q8_0 GPU 0 4 x 128K 9.0 43 98% 1.5 times the wait for a token",
    ]


def test_of_one_build_in_one_place_the_best_size_that_fits_is_shown() -> None:
    gpus = ("GPU-0",)
    best = option("qwen3.5-9b:q8_0", {"GPU-0": 19 * GIB}, gpus, slots=8, token_seconds=1.1)
    next_best = option("qwen3.5-9b:q8_0", {"GPU-0": 10 * GIB}, gpus, slots=2, token_seconds=1.2)
    last = option("qwen3.5-9b:q8_0", {"GPU-0": 9 * GIB}, gpus, slots=1, token_seconds=1.9)
    made = draft(options=(last, best, SMALL.option, next_best))
    lines = Screen(None).render(explain(made, "qwen3.5-9b", Screen(None))).splitlines()
    (way,) = (line for line in lines if "q8_0 " in line)
    assert "2 x 128K" in way
    assert way.endswith("1.2 times the wait for a token")


def test_every_rejection_with_its_reason() -> None:
    text = told("qwen3.5-397b-a17b")
    assert "It is not in the plan." in text
    assert "Turned down: 2" in text
    assert "   q8_0: needs 400.0 GiB." in text


def test_a_size_that_nobody_told_is_said_to_be_estimated() -> None:
    assert "estimated" in told("qwen3.5-122b-a10b")
    assert "estimated" not in told("qwen3.5-9b")


def test_as_json_it_is_of_this_model_only() -> None:
    found = explanation(draft(), "qwen3.5-9b")
    assert found["assignment"]["deployment"]["build"] == "qwen3.5-9b:q4_k_m"
    assert [one["deployment"]["model"] for one in found["options"]] == ["qwen3.5-9b"]
    assert [one["name"] for one in found["rejections"]] == ["qwen3.5-9b:q8_0"]
    assert [one["build"] for one in found["commands"]] == ["qwen3.5-9b:q4_k_m"]
    assert explanation(draft(PLAN), "qwen3.5-397b-a17b")["assignment"] is None
