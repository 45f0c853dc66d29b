"""What llama.cpp computes at once, as far as the space for it depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from server.planning.deployment import KvType

MICRO_BATCH = 512
"""llama-server's default of --ubatch-size."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is computed at once."""

    slots: int
    context: int
    """Tokens of each slot, as reserved."""
    kv_type: KvType = "f16"
    drafted: int = 0
    """Tokens drafted at each step: so many states more are kept of each sequence."""
    offloaded: bool = False
    """Whether the layers run on a GPU, which gets the embeddings from the CPU."""
    copies: int = 1
    """Of each input: four where several GPUs take turns."""
    micro_batch: int = MICRO_BATCH
    """Tokens computed at a time."""
    embeds: bool = False
    """Whether embeddings are made: then every token is an output, and has logits."""

    @property
    def rotated(self) -> bool:
        """Whether keys and values are rotated before they are stored (llama-kv-cache.cpp)."""
        return self.kv_type in ("q8_0", "q4_0")

    @property
    def widened(self) -> bool:
        """Whether flash attention makes f16 of what is stored (ggml-cuda/fattn.cu)."""
        return self.offloaded and self.kv_type != "f16"

    @property
    def tokens(self) -> int:
        whole = min(self.micro_batch, self.context * self.slots)
        return -(-whole // self.slots) * self.slots
