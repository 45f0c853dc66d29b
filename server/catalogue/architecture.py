"""The numbers of a model's architecture, from its config.json, under one set of names.

Qwen3.5 interleaves gated-delta-net layers, whose state has a fixed size per sequence, with full
attention layers, whose KV cache grows with the context. Layer i (from 0) is full attention where
(i + 1) mod `full_attention_interval` == 0 (transformers, `Qwen3_5TextConfig.layer_types`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["qwen3_5", "qwen3_5_moe"]


@dataclass(frozen=True, slots=True)
class Vision:
    """The image encoder, a plain vision transformer; its output width is the text model's."""

    depth: int
    hidden: int
    heads: int
    ffn: int
    patch: int = 16
    """Pixels along one side of a patch."""
    temporal_patch: int = 2
    """Video frames folded into one patch; a still image is repeated that often."""
    merge: int = 2
    """Patches along one side that are merged into one token of the text model."""
    positions: int = 2304
    """Learned position embeddings, resampled to each image's grid."""
    channels: int = 3


@dataclass(frozen=True, slots=True)
class Architecture:
    kind: Kind
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    full_attention_interval: int
    linear_key_heads: int
    linear_key_head_dim: int
    linear_value_heads: int
    linear_value_head_dim: int
    conv_kernel: int
    vocab: int
    tied: bool
    """True: the output head is the embedding matrix, stored once."""
    ffn: int | None = None
    """Width of the dense feed-forward layers; None in a mixture of experts."""
    experts: int | None = None
    """Routed experts in each layer; None in a dense model, as are the three that follow."""
    experts_per_token: int | None = None
    moe_ffn: int | None = None
    shared_ffn: int | None = None
    mtp_layers: int = 0
    """Multi-token-prediction layers after the last one; they share the embeddings."""
    vision: Vision | None = None

    @property
    def full_layers(self) -> int:
        """Layers with a KV cache."""
        return self.layers // self.full_attention_interval

    @property
    def linear_layers(self) -> int:
        """Layers with a recurrent state."""
        return self.layers - self.full_layers
