"""The memory that a build takes in llama-server at a context and a number of slots.

Pure arithmetic from the architecture's numbers. KV cache and recurrent state are what llama.cpp
allocates, to the byte; the compute buffer is an estimate that was fitted to its log lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Architecture, Vision
from server.planning.deployment import CHECKPOINTS as CONTEXT_CHECKPOINTS
from server.planning.deployment import PROMPT_CACHE
from server.planning.footprint.cache import layer_state_bytes
from server.planning.parameters import Parameters, conv_width, parameters

__all__ = [
    "CONTEXT_CHECKPOINTS",
    "PROMPT_CACHE",
    "Footprint",
    "Parameters",
    "image_compute",
    "kv_bytes_per_token",
    "llama_server",
    "parameters",
    "state_bytes_per_sequence",
]

_CONTEXT_STEP = 256  # llama.cpp rounds each slot's context up to this (llama-context.cpp)
_MICRO_BATCH = 512  # tokens computed at a time, llama-server's default of --ubatch-size
_LARGEST_IMAGE = 4096  # tokens, for Qwen's vision towers (llama.cpp's tools/mtmd/clip.cpp)
_F32 = 4
_MASK = 2  # bytes of one element of the attention mask, f16


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes. The first four must be there from the start; the last two grow with use."""

    weights: int
    """The GGUF files and the mmproj. On the CPU they are mapped; where llama.cpp repacks a tensor
    for it (CPU_REPACK), the copy takes the place of pages that are not read again."""
    kv_cache: int
    state: int
    compute: int
    """Scratch space of the largest graph and of the largest image, and the logits handed out."""
    checkpoints: int
    """Always in host memory: copies of the state from which a prompt can be taken up again."""
    prompt_cache: int
    """Always in host memory: the limit given with --cache-ram."""

    @property
    def required(self) -> int:
        """What the engine takes before the first request."""
        return self.weights + self.kv_cache + self.state + self.compute

    @property
    def total(self) -> int:
        """What it may come to take."""
        return self.required + self.checkpoints + self.prompt_cache


def kv_bytes_per_token(architecture: Architecture, element_bytes: float = 2.0) -> float:
    """Bytes of KV cache for one token of context: only full attention layers have one.

    `element_bytes` is 2 for f16 and 34/32 for q8_0 (32 values and an f16 scale).
    """
    a = architecture
    return a.full_layers * 2 * a.kv_heads * a.head_dim * element_bytes


def state_bytes_per_sequence(architecture: Architecture) -> int:
    """Bytes of recurrent state for one sequence, whatever its length, in f32."""
    return architecture.linear_layers * layer_state_bytes(architecture)


def llama_server(
    weights_bytes: int,
    mmproj_bytes: int,
    architecture: Architecture,
    context_per_slot: int,
    slots: int,
    kv_element_bytes: float = 2.0,
    *,
    checkpoints: int = CONTEXT_CHECKPOINTS,
    prompt_cache: int = PROMPT_CACHE,
    draft_tokens: int = 0,
) -> Footprint:
    """The footprint of one llama-server.

    `checkpoints`, `prompt_cache` (bytes) and `draft_tokens` are what the engine is launched with
    as --ctx-checkpoints, --cache-ram and, with multi-token prediction, --spec-draft-n-max: each
    drafted token keeps a state of its own. llama-server's own defaults are 32, 8 GiB and 3.
    """
    context = -(-context_per_slot // _CONTEXT_STEP) * _CONTEXT_STEP
    state = state_bytes_per_sequence(architecture)
    compute = _compute(architecture, context, slots)
    if mmproj_bytes and architecture.vision:
        compute += image_compute(architecture.vision)
    return Footprint(
        weights=weights_bytes + mmproj_bytes,
        kv_cache=round(kv_bytes_per_token(architecture, kv_element_bytes) * context) * slots,
        state=state * slots * (1 + draft_tokens),
        compute=compute,
        checkpoints=state * slots * checkpoints,
        prompt_cache=prompt_cache,
    )


def image_compute(vision: Vision, tokens: int = _LARGEST_IMAGE) -> int:
    """Scratch space for an image of `tokens`, estimated: 0 to 8 % more than measured.

    Fitted to what llama-server logs for the towers of 0.8B, 4B and 27B (CPU, flash attention): six
    activations of a patch beside its pixels. One image is encoded at a time.
    """
    patches = tokens * vision.merge**2
    pixels = vision.channels * vision.patch**2
    return patches * (6 * vision.hidden + pixels + 4) * _F32


def _compute(a: Architecture, context: int, slots: int) -> int:
    """Scratch space and logits, estimated: 0 to 12 % more than measured.

    The graph's peak is in a feed-forward or in a gated-delta-net layer, whichever holds more
    activations of one micro batch. Fitted to the buffer sizes that llama-server (llama.cpp of
    llama-cpp-python 0.3.36, CPU, flash attention) logs for the shapes of all eight sizes, 1 to 32
    slots, 1,024 to 262,144 tokens; the mask for each token of context is exact.
    """
    token = _MICRO_BATCH * _F32
    hidden = a.hidden * token
    if a.experts is None:
        feed_forward = 3 * ((a.ffn or 0) * token + hidden)
    else:
        expert_inputs = (a.experts_per_token or 0) * (a.hidden + 3 * (a.moe_ffn or 0)) * token
        feed_forward = expert_inputs + 4 * hidden
    values = a.linear_value_heads * a.linear_value_head_dim * token
    conv = conv_width(a) * token
    layer_state = state_bytes_per_sequence(a) // max(a.linear_layers, 1)
    delta_net = 3 * hidden + max(3 * conv, 2 * conv + values + 2 * slots * layer_state)
    mask = context * _MICRO_BATCH * _MASK
    logits = slots * a.vocab * _F32
    return round(max(feed_forward, delta_net) * 1.08) + mask + logits
