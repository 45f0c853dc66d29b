"""vLLM's cache: one pool of blocks that hold keys and values, or a recurrent state.

A block has a page for each layer of a group; pages of full attention and of gated delta net layers
are made equally large, so that any block may serve either. Sources, vLLM 0.32:
platforms/interface.py (`_align_hybrid_block_size`), v1/core/kv_cache_utils.py
(`_get_kv_cache_groups_uniform_page_size`), v1/kv_cache_interface.py (`MambaSpec`).
"""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.parameters import conv_width

_STEP_GPU = 16
"""Tokens to a multiple of which a block is rounded (FlashAttention's smallest kernel block)."""
_STEP_CPU = 128
_STATES_GPU = 2
"""Of one sequence in each group, with prefix caching: the state it was taken up from, and its own
(mamba_cache_mode `align`); each drafted token takes one more."""
_STATES_CPU = 1
"""Where it is launched without prefix caching."""
_CONV_BYTES = 2  # bf16, the model's own type
_STATE_BYTES = 4  # f32, `mamba_ssm_dtype` of every Qwen3.5 configuration


@dataclass(frozen=True, slots=True)
class Blocks:
    """How one rank of a deployment divides its cache."""

    tokens: int
    """Of context in one block of a full attention group."""
    page: int
    """Bytes of one layer in one block."""
    layers: int
    """Pages of a block: the layers of a group."""
    states: int
    """Blocks that one sequence takes for its recurrent states, however short it is."""
    context_blocks: int
    """Blocks that one sequence of full length takes for its keys and values."""

    @property
    def bytes(self) -> int:
        """Of one block."""
        return self.page * self.layers

    @property
    def sequence(self) -> int:
        """Blocks of one sequence of full length."""
        return self.context_blocks + self.states

    def pool(self, slots: int) -> int:
        """Bytes with which `slots` sequences of full length run side by side.

        One block more than they fill: vLLM keeps one for what is empty.
        """
        return (self.sequence * slots + 1) * self.bytes

    def within(self, size: int) -> int:
        """Blocks that sequences may fill in a pool of `size` bytes."""
        return max(0, size // self.bytes - 1)


def blocks(deployment: Deployment, architecture: Architecture) -> Blocks:
    """The blocks of each rank of a vLLM `deployment`."""
    d, a = deployment, architecture
    step, states = (_STEP_GPU, _STATES_GPU) if d.gpus else (_STEP_CPU, _STATES_CPU)
    element = 1 if d.kv_type == "fp8" else 2
    token = 2 * max(1, a.kv_heads // d.tensor_parallel) * a.head_dim * element
    tokens = step * -(-_state_bytes(d, a) // (step * token))
    full = a.full_layers // d.pipeline_parallel + (a.mtp_layers if d.draft_tokens else 0)
    linear = a.linear_layers // d.pipeline_parallel
    return Blocks(
        tokens=tokens,
        page=tokens * token,
        layers=full,
        states=-(-linear // full) * (states + d.draft_tokens),
        context_blocks=-(-d.context // tokens),
    )


def _state_bytes(d: Deployment, a: Architecture) -> int:
    """Of one layer on one rank: a matrix for each value head, and its convolution's last inputs."""
    matrices = a.linear_value_heads * a.linear_value_head_dim * a.linear_key_head_dim
    inputs = (a.conv_kernel - 1 + d.draft_tokens) * conv_width(a)
    return (matrices * _STATE_BYTES + inputs * _CONV_BYTES) // d.tensor_parallel
