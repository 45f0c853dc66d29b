"""Why a way to run a model lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.cli.plan.verdict import Beside
from server.planning.plan import Option
from server.units import GIB
from tests.cli.plan.drafts import PLAN, SMALL, option, rig

# GPU 0 and GPU 1 have 3 GiB left each, RAM 171 GiB; qwen3.5-9b has 8 GiB of GPU 0.


def nine(sizes: dict[str, int], gpus: tuple[str, ...], **changes: Any) -> Option:
    return replace(option("qwen3.5-9b:q8_0", sizes, gpus), **({"token_seconds": 1.0} | changes))


def verdict(made: Option, model: str = "qwen3.5-9b") -> str:
    return Beside.of(PLAN, rig(2), model).verdict(made)


def test_what_was_chosen_needs_no_reason() -> None:
    assert verdict(SMALL.option) == ""


def test_on_another_gpu_of_its_kind_it_is_the_same() -> None:
    d = replace(SMALL.option.deployment, gpus=("GPU-1",))
    assert verdict(replace(SMALL.option, deployment=d)) == ""


@pytest.mark.parametrize(
    ("sizes", "gpus", "expected"),
    [
        # Its own 8 GiB count as free, and the roomiest GPU is looked at.
        ({"GPU-1": 12 * GIB}, ("GPU-1",), "short of 1.0 GiB on GPU 0"),
        ({"GPU-0": 4 * GIB, "GPU-1": 5 * GIB}, ("GPU-0", "GPU-1"), "short of 1.0 GiB on GPU 1"),
        ({"ram": 173 * GIB}, (), "short of 2.0 GiB on RAM"),
        (
            {"GPU-0": 12 * GIB, "GPU-1": 4 * GIB, "ram": 172 * GIB},
            ("GPU-0", "GPU-1"),
            "short of 1.0 GiB on GPU 0, 1.0 GiB on GPU 1, 1.0 GiB on RAM",
        ),
    ],
)
def test_short_beside_the_others(
    sizes: dict[str, int], gpus: tuple[str, ...], expected: str
) -> None:
    assert verdict(nine(sizes, gpus)) == expected


def test_what_fits_and_is_slower() -> None:
    slow = nine({"GPU-0": 9 * GIB}, ("GPU-0",), token_seconds=1.9)
    assert verdict(slow) == "1.9 times the wait for a token"


def test_what_fits_and_is_faster_costs_others() -> None:
    fast = nine({"GPU-0": 9 * GIB}, ("GPU-0",), token_seconds=0.5)
    assert verdict(fast) == "what it takes of memory is worth more elsewhere"


def test_a_model_that_is_not_in_the_plan() -> None:
    huge = option("qwen3.5-397b-a17b:ud-iq1_m", {"ram": 100 * GIB})
    assert verdict(huge, "qwen3.5-397b-a17b") == "what it takes of memory is worth more elsewhere"
    large = option("qwen3.5-397b-a17b:q8_0", {"ram": 400 * GIB})
    assert verdict(large, "qwen3.5-397b-a17b") == "short of 229.0 GiB on RAM"


def test_one_that_is_loaded_on_demand_has_no_place_of_its_own() -> None:
    other = option("qwen3.5-27b:q8_0", {"GPU-1": 22 * GIB}, ("GPU-1",))
    assert verdict(other, "qwen3.5-27b") == "short of 19.0 GiB on GPU 0"
