"""KV cache and recurrent state: what follows from the architecture to the byte."""

from __future__ import annotations

from collections.abc import Mapping

from server.catalogue import Architecture
from server.planning.deployment import KvType
from server.planning.parameters import conv_width

CONTEXT_STEP = 256
"""Tokens to a multiple of which llama.cpp rounds each slot's context up (llama-context.cpp)."""
_F32 = 4

_BLOCK: Mapping[KvType, tuple[int, int]] = {
    "f16": (1, 2), "bf16": (1, 2), "fp8": (1, 1), "q8_0": (32, 34), "q4_0": (32, 18),
}  # fmt: skip
"""Elements and bytes of a block (llama.cpp: ggml-common.h)."""


def padded_context(context: int) -> int:
    """Tokens that llama.cpp reserves for a slot of `context` tokens."""
    return -(-context // CONTEXT_STEP) * CONTEXT_STEP


def kv_bytes(architecture: Architecture, tokens: int, kv_type: KvType = "f16") -> int:
    """Bytes of one full attention layer's keys and values for `tokens` tokens.

    llama.cpp: llama-kv-cache.cpp, a tensor of kv_heads x head_dim for each token, twice.
    """
    a = architecture
    elements, size = _BLOCK[kv_type]
    return 2 * (a.kv_heads * a.head_dim // elements) * size * tokens


def saved_bytes(
    architecture: Architecture, tokens: int, checkpoints: int, kv_type: KvType = "f16"
) -> int:
    """Bytes of RAM in which llama-server keeps a conversation of `tokens` whose slot another one
    needs (tools/server: `server_prompt`): keys and values, the state, and as much for each of the
    `checkpoints` that it has. Measured: 6.85 MiB for 217 tokens with one, 20.57 for 662 with five,
    in 4 layers of 0.8B's shape, 512 wide."""
    a = architecture
    state = layer_state_bytes(a) * a.linear_layers
    return kv_bytes(a, tokens, kv_type) * a.full_layers + state * (1 + checkpoints)


def layer_state_bytes(architecture: Architecture) -> int:
    """Bytes of one gated-delta-net layer's state for one sequence, in f32.

    A matrix for each value head, and the last inputs of its convolution (llama.cpp:
    `llama_hparams::n_embd_s` and `n_embd_r`).
    """
    a = architecture
    matrices = a.linear_value_heads * a.linear_value_head_dim * a.linear_key_head_dim
    inputs = (a.conv_kernel - 1) * conv_width(a)
    return (matrices + inputs) * _F32
