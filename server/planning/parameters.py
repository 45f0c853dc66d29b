"""How many parameters an architecture has, exactly.

Tensor by tensor after transformers' `Qwen3_5ForConditionalGeneration` and `Qwen3_5Moe...`
(models/qwen3_5/modeling_qwen3_5.py), and the checkpoints' multi-token-prediction block, which
transformers leaves out. Checked against the published totals of all eight sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Architecture, Vision


@dataclass(frozen=True, slots=True)
class Parameters:
    text: int
    """The language model with its embeddings and output head (one matrix where tied)."""
    vision: int
    mtp: int
    float32: int
    """Of `text`, those that the official checkpoints store in 32 bits; all others take 16."""

    @property
    def total(self) -> int:
        return self.text + self.vision + self.mtp

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of all tensors in the official BF16 checkpoint, without the files' headers."""
        return 2 * self.total + 2 * self.float32


def parameters(architecture: Architecture) -> Parameters:
    a = architecture
    embeddings = a.vocab * a.hidden * (1 if a.tied else 2)
    layers = (
        a.full_layers * _attention(a)
        + a.linear_layers * _gated_delta_net(a)
        + a.layers * (_feed_forward(a) + 2 * a.hidden)  # each layer has two norms
    )
    # A_log (one a head) and the norm of the gated delta net's output stay in 32 bits.
    float32 = a.linear_layers * (a.linear_value_heads + a.linear_value_head_dim)
    return Parameters(
        text=embeddings + layers + a.hidden,
        vision=_vision(a.vision, a.hidden) if a.vision else 0,
        mtp=a.mtp_layers * _mtp(a),
        float32=float32,
    )


def layer_parameters(architecture: Architecture, layer: int) -> tuple[int, int]:
    """Parameters of layer `layer`, from 0: all but its routed experts, and those."""
    a = architecture
    mixer = mixer_parameters(a, layer)
    experts = (a.experts or 0) * 3 * a.hidden * (a.moe_ffn or 0)
    return mixer + _feed_forward(a) + 2 * a.hidden - experts, experts


def mixer_parameters(architecture: Architecture, layer: int) -> int:
    """Parameters of layer `layer`, from 0, that mix tokens: its attention or gated delta net."""
    a = architecture
    is_full = (layer + 1) % a.full_attention_interval == 0
    return _attention(a) if is_full else _gated_delta_net(a)


def active_share(architecture: Architecture) -> float:
    """The part of the text model's weights that one token reads: 1 unless it is a mixture of
    experts, of which only `experts_per_token` in `experts` are used."""
    total = parameters(architecture).text
    if architecture.experts is None:
        return 1.0
    assert architecture.moe_ffn is not None
    assert architecture.experts_per_token is not None
    # Each expert is a gated feed-forward network: three matrices of hidden x moe_ffn.
    expert = 3 * architecture.hidden * architecture.moe_ffn
    idle = architecture.experts - architecture.experts_per_token
    return 1.0 - architecture.layers * idle * expert / total


def drafting_share(architecture: Architecture) -> float:
    """The part of the multi-token-prediction block that drafting one token reads: all but the
    experts that it does not choose."""
    a = architecture
    if a.experts is None:
        return 1.0
    assert a.moe_ffn is not None
    assert a.experts_per_token is not None
    idle = a.experts - a.experts_per_token
    return 1.0 - idle * 3 * a.hidden * a.moe_ffn / _mtp(a)


def conv_width(a: Architecture) -> int:
    """Channels of a gated delta net's convolution: queries, keys and values side by side."""
    keys = a.linear_key_heads * a.linear_key_head_dim
    return 2 * keys + a.linear_value_heads * a.linear_value_head_dim


def _attention(a: Architecture) -> int:
    queries = a.hidden * a.heads * a.head_dim * 2  # each query has an output gate beside it
    keys_values = 2 * a.hidden * a.kv_heads * a.head_dim
    output = a.heads * a.head_dim * a.hidden
    return queries + keys_values + output + 2 * a.head_dim  # norms of queries and keys


def _gated_delta_net(a: Architecture) -> int:
    values = a.linear_value_heads * a.linear_value_head_dim
    projections = a.hidden * (conv_width(a) + values + 2 * a.linear_value_heads)  # qkv, z, a and b
    convolution = conv_width(a) * a.conv_kernel
    scalars = 2 * a.linear_value_heads + a.linear_value_head_dim  # A_log, dt_bias, norm
    return projections + convolution + scalars + values * a.hidden


def _feed_forward(a: Architecture) -> int:
    if a.experts is None:
        assert a.ffn is not None
        return 3 * a.hidden * a.ffn
    assert a.moe_ffn is not None
    assert a.shared_ffn is not None
    router = a.hidden * a.experts
    shared = 3 * a.hidden * a.shared_ffn + a.hidden  # and its gate
    return router + shared + a.experts * 3 * a.hidden * a.moe_ffn


def _mtp(a: Architecture) -> int:
    """One layer of full attention behind a projection of two inputs, each with a norm."""
    joined = 2 * a.hidden * a.hidden + 3 * a.hidden
    return joined + _attention(a) + _feed_forward(a) + 2 * a.hidden


def _vision(v: Vision, out: int) -> int:
    patches = v.channels * v.temporal_patch * v.patch**2 * v.hidden + v.hidden
    attention = 4 * v.hidden * v.hidden + 4 * v.hidden
    mlp = 2 * v.hidden * v.ffn + v.ffn + v.hidden
    block = attention + mlp + 4 * v.hidden  # two norms with bias
    merged = v.hidden * v.merge**2
    merger = 2 * v.hidden + merged * merged + merged + merged * out + out
    return patches + v.positions * v.hidden + v.depth * block + merger
