"""The memory that a build takes in llama-server at a context and a number of slots.

For one device and sizes only; `footprint()` tells it by device and component.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Architecture, Vision
from server.planning.deployment import CHECKPOINTS as CONTEXT_CHECKPOINTS
from server.planning.deployment import PROMPT_CACHE
from server.planning.footprint.batch import Batch
from server.planning.footprint.cache import layer_state_bytes, padded_context
from server.planning.footprint.graph import model_bytes
from server.planning.footprint.image import LARGEST_IMAGE, image_bytes
from server.planning.parameters import Parameters, parameters

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
    context = padded_context(context_per_slot)
    state = state_bytes_per_sequence(architecture)
    compute = model_bytes(architecture, Batch(slots, context)) + slots * architecture.vocab * 4
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


def image_compute(vision: Vision, tokens: int = LARGEST_IMAGE) -> int:
    """Scratch space for an image of `tokens`."""
    return image_bytes(vision, tokens)
