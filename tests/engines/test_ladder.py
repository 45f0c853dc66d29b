"""The way down after out of memory: step by step to its end, for each kind of deployment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engines.ladder import Footing, difference, step_down
from server.planning.deployment import Deployment

LLAMA = Deployment("m", "m:q8_0", "llama-server", ("GPU-0",), context=16384, slots=4)
VLLM = Deployment("m", "m:fp8", "vllm", ("GPU-0",), context=16384, slots=8)


def way(first: Deployment, footing: Footing) -> list[str]:
    steps, tried = [], [first]
    while (lower := step_down(tried[-1], tried, footing)) is not None:
        steps.append(difference(tried[-1], lower))
        tried.append(lower)
    return steps


@pytest.mark.parametrize(
    ("first", "footing", "steps"),
    [
        pytest.param(
            LLAMA,
            Footing(layers=32, experts=False, context=4096, smaller=("m:q4_k_m", "m:q3_k_m")),
            [
                "2 slots instead of 4 slots",
                "1 slots instead of 2 slots",
                "8192 tokens a slot instead of 16384 tokens a slot",
                "4096 tokens a slot instead of 8192 tokens a slot",
                "m:q4_k_m instead of m:q8_0",
                "m:q3_k_m instead of m:q4_k_m",
                "24 layers on GPUs instead of all layers on GPUs",
                "15 layers on GPUs instead of 24 layers on GPUs",
                "6 layers on GPUs instead of 15 layers on GPUs",
                "the CPU alone instead of 6 layers on GPUs",
            ],
            id="llama-server on a GPU",
        ),
        pytest.param(
            replace(LLAMA, slots=2, context=4096, gpus=(), embeddings=True),
            Footing(layers=32, experts=False, smaller=("m:q4_k_m",)),
            ["1 slots instead of 2 slots"],
            id="what makes embeddings stays the build that it is",
        ),
        pytest.param(
            replace(LLAMA, slots=1, context=4096),
            Footing(layers=6, experts=True),
            [
                "experts of 2 layers in RAM instead of experts of 0 layers in RAM",
                "experts of 4 layers in RAM instead of experts of 2 layers in RAM",
                "experts of 6 layers in RAM instead of experts of 4 layers in RAM",
                "5 layers on GPUs instead of all layers on GPUs",
                "3 layers on GPUs instead of 5 layers on GPUs",
                "1 layers on GPUs instead of 3 layers on GPUs",
                "the CPU alone instead of 1 layers on GPUs",
            ],
            id="experts go to RAM before whole layers do",
        ),
        pytest.param(
            VLLM,
            Footing(layers=32, experts=False, context=16384, slots=4, smaller=("m:int4",)),
            [
                "4 slots instead of 8 slots",
                "no CUDA graphs instead of CUDA graphs",
                "m:int4 instead of m:fp8",
            ],
            id="vLLM, down to what was asked for",
        ),
        pytest.param(
            replace(LLAMA, gpus=(), slots=1, context=4096),
            Footing(32, False),
            [],
            id="nothing left",
        ),
    ],
)  # fmt: skip
def test_each_step(first: Deployment, footing: Footing, steps: list[str]) -> None:
    assert way(first, footing) == steps


def test_what_was_tried_is_passed_over() -> None:
    footing = Footing(layers=32, experts=False)
    first = step_down(LLAMA, [LLAMA], footing)
    assert first is not None
    second = step_down(LLAMA, [LLAMA, first], footing)
    assert (first.slots, first.context) == (2, 16384)
    assert second is not None
    assert (second.slots, second.context) == (4, 8192)


def test_a_split_over_gpus_keeps_its_proportions() -> None:
    two = replace(LLAMA, gpus=("GPU-0", "GPU-1"), layer_split=(22, 11), slots=1, context=4096)
    lower = step_down(two, [two], Footing(layers=32, experts=False))
    assert lower is not None
    assert (lower.gpu_layers, lower.layer_split) == (24, (16, 8))


@settings(max_examples=100)
@given(
    slots=st.integers(1, 64),
    context=st.integers(256, 262_144),
    experts=st.booleans(),
    gpus=st.integers(0, 3),
    layers=st.integers(1, 64),
)
def test_it_ends_and_nothing_comes_twice(
    slots: int, context: int, experts: bool, gpus: int, layers: int
) -> None:
    ids = tuple(f"GPU-{number}" for number in range(gpus))
    split = (layers,) * gpus if gpus > 1 else ()
    first = replace(LLAMA, slots=slots, context=context, gpus=ids, layer_split=split)
    footing = Footing(layers, experts, smaller=("m:q4_k_m", "m:q2_k"))
    tried = [first]
    while (lower := step_down(tried[-1], tried, footing)) is not None:
        assert lower not in tried
        tried.append(lower)
        assert len(tried) < 50
