"""KV cache and state of every size, against published figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue import load
from server.planning.footprint.cache import (
    kv_bytes,
    layer_state_bytes,
    padded_context,
    saved_bytes,
)
from server.settings import Settings
from server.units import GIB, MIB

MODELS = load(Settings(home=Path("/nonexistent"), configs=())).models


@pytest.mark.parametrize(
    ("size", "per_token", "at_full_context", "state"),
    [
        ("0.8b", 12_288, 3.0, 19.3),
        ("2b", 12_288, 3.0, 19.3),
        ("4b", 32_768, 8.0, 50.2),
        ("9b", 32_768, 8.0, 50.2),
        ("27b", 65_536, 16.0, 149.6),
        ("35b-a3b", 20_480, 5.0, 62.8),
        ("122b-a10b", 24_576, 6.0, 149.1),
        ("397b-a17b", 30_720, 7.5, 186.3),
    ],
)
def test_figures_of_every_size(
    size: str, per_token: int, at_full_context: float, state: float
) -> None:
    """KV bytes per token, GiB of KV at 262,144 tokens, MiB of state per sequence."""
    a = MODELS[f"qwen3.5-{size}"].architecture
    assert a.full_layers * kv_bytes(a, 1) == per_token
    assert a.full_layers * kv_bytes(a, 262_144) == at_full_context * GIB
    assert a.linear_layers * layer_state_bytes(a) / MIB == pytest.approx(state, abs=0.06)


def test_quantized_caches_keep_a_scale_for_each_block() -> None:
    a = MODELS["qwen3.5-9b"].architecture
    assert kv_bytes(a, 4096, "q8_0") * 64 == kv_bytes(a, 4096) * 34
    assert kv_bytes(a, 4096, "q4_0") * 64 == kv_bytes(a, 4096) * 18


@pytest.mark.parametrize(("tokens", "checkpoints", "mib"), [(217, 1, 6.853), (662, 5, 20.574)])
def test_a_conversation_takes_what_llama_server_says(
    tokens: int, checkpoints: int, mib: float
) -> None:
    """As it logs ("cache state"), for a model of these shapes with random weights."""
    a = replace(MODELS["qwen3.5-0.8b"].architecture, layers=4, hidden=512)
    assert saved_bytes(a, tokens, checkpoints) / MIB == pytest.approx(mib, abs=0.02)


@pytest.mark.parametrize(("asked", "kept"), [(1, 256), (256, 256), (333, 512), (4096, 4096)])
def test_llama_cpp_rounds_contexts_up(asked: int, kept: int) -> None:
    assert padded_context(asked) == kept
