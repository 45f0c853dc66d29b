"""Deployments are values: they say no to contradictions, travel as JSON, and have one name each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.planning.deployment import Deployment

PLAIN = Deployment("qwen3.5-9b", "qwen3.5-9b:q4_k_m", "llama-server", (), 4096, 1)

deployments = st.builds(
    Deployment,
    model=st.just("m"),
    build=st.sampled_from(["m:a", "m:b"]),
    engine=st.just("llama-server"),
    gpus=st.lists(st.sampled_from(["A", "B", "C"]), unique=True).map(tuple),
    context=st.integers(1, 262_144),
    slots=st.integers(1, 64),
    kv_type=st.sampled_from(["f16", "q8_0"]),
    gpu_layers=st.none() | st.integers(0, 65),
    cpu_experts=st.integers(0, 60),
    vision=st.booleans(),
    draft_tokens=st.integers(0, 3),
)


@given(deployments)
def test_there_and_back(one: Deployment) -> None:
    assert Deployment.from_dict(json.loads(one.key)) == one
    assert hash(Deployment.from_dict(one.to_dict())) == hash(one)


@given(deployments, deployments)
def test_equal_ones_have_one_key(one: Deployment, other: Deployment) -> None:
    assert (one.key == other.key) == (one == other)
    assert sorted([one, other]) == sorted([other, one])


def test_a_key_is_short() -> None:
    assert json.loads(PLAIN.key) == {
        "model": "qwen3.5-9b",
        "build": "qwen3.5-9b:q4_k_m",
        "engine": "llama-server",
        "gpus": [],
        "context": 4096,
        "slots": 1,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": 0}, "no context"),
        ({"slots": 0}, "no context"),
        ({"kv_type": "fp8"}, "a KV cache of fp8"),
        ({"engine": "vllm", "kv_type": "q8_0"}, "a KV cache of q8_0"),
        ({"engine": "ollama"}, "unknown engine"),
        ({"gpus": ("A", "A")}, "twice"),
        ({"engine": "vllm", "embeddings": True}, "vllm: embeddings"),
        ({"draft_tokens": 2, "embeddings": True}, "embeddings beside drafts"),
        ({"gpus": ("A", "B"), "layer_split": (1, 2, 3)}, "split"),
        ({"engine": "vllm", "gpus": ("A", "B")}, "1 ranks on 1 x 2 GPUs"),
        ({"engine": "vllm", "tensor_parallel": 2}, "2 ranks on 1 x 0 GPUs"),
    ],
)
def test_contradictions(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(PLAIN, **changes)  # type: ignore[arg-type]


def test_ranks_may_be_spread_over_machines() -> None:
    one = replace(
        PLAIN,
        engine="vllm",
        gpus=tuple("ABCDEFGH"),
        tensor_parallel=8,
        pipeline_parallel=2,
        nodes=2,
    )
    assert Deployment.from_dict(one.to_dict()) == one
