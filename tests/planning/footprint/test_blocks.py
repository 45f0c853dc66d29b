"""vLLM's blocks, held to what its logs say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.blocks import blocks
from server.units import GIB

NINE = Architecture(
    kind="qwen3_5", layers=32, hidden=4096, heads=16, kv_heads=4, head_dim=256,
    full_attention_interval=4, linear_key_heads=16, linear_key_head_dim=128,
    linear_value_heads=32, linear_value_head_dim=128, conv_kernel=4, vocab=248320, tied=False,
    ffn=12288, mtp_layers=1,
)  # fmt: skip
SMALL = replace(
    NINE, layers=8, hidden=192, heads=4, kv_heads=2, head_dim=64, linear_key_heads=2,
    linear_key_head_dim=64, linear_value_heads=4, linear_value_head_dim=64, mtp_layers=0,
)  # fmt: skip


def deployment(context: int = 2048, slots: int = 4, **changes: object) -> Deployment:
    made = Deployment("x", "x:bf16", "vllm", (), context=context, slots=slots)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_vllm_logged_for_a_small_model_on_a_cpu() -> None:
    """vLLM 0.32, 1 GiB: "Setting attention block size to 256 tokens", "Padding mamba page size by
    91.04%", "Maximum concurrency for 2,048 tokens per request: 292.57x" with prefix caching.
    """
    found = blocks(deployment(), SMALL)
    assert found.tokens == 256
    assert found.page == 131_072
    state = 4 * 64 * 64 * 4 + 3 * 512 * 2
    assert f"{found.page / state - 1:.2%}" == "91.04%"
    assert f"{GIB // found.bytes / (found.sequence + 3):.2f}" == "292.57"
    assert found.states == 3, "without it: one state in each of three groups"


@pytest.mark.parametrize(
    ("changes", "tokens", "states"),
    [
        ({"gpus": ("a",)}, 528, 6),  # 2 MiB of state and 48 KiB of inputs over 4 KiB a token
        ({"gpus": ("a",), "kv_type": "fp8"}, 1056, 6),
        ({"gpus": ("a", "b"), "tensor_parallel": 2}, 528, 6),
        ({"gpus": ("a",), "draft_tokens": 1}, 528, 9),
    ],
)
def test_blocks_of_nine_billion(changes: dict[str, Any], tokens: int, states: int) -> None:
    found = blocks(deployment(**changes), NINE)
    assert (found.tokens, found.states) == (tokens, states)
    assert found.layers == (9 if "draft_tokens" in changes else 8)


@given(
    context=st.integers(1, 262_144),
    slots=st.integers(1, 64),
    draft=st.integers(0, 3),
    kv_type=st.sampled_from(["bf16", "fp8"]),
)
def test_a_pool_holds_just_its_slots(context: int, slots: int, draft: int, kv_type: str) -> None:
    found = blocks(
        deployment(context, slots, gpus=("a",), draft_tokens=draft, kv_type=kv_type), NINE
    )
    assert found.within(found.pool(slots)) == found.sequence * slots
    assert found.within(found.pool(slots) - 1) < found.sequence * slots
    assert found.context_blocks * found.tokens >= context
