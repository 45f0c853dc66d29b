"""One engine as it would be launched: all that its command line and its memory depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from server.catalogue import EngineName
from server.units import MIB

KvType = Literal["f16", "bf16", "q8_0", "q4_0", "fp8"]

KV_TYPES: Mapping[EngineName, tuple[KvType, ...]] = {
    "llama-server": ("f16", "bf16", "q8_0", "q4_0"),
    "vllm": ("f16", "bf16", "fp8"),
}
WHOLE: tuple[KvType, ...] = ("f16", "bf16")
CHECKPOINTS = 8
"""Copies of the recurrent state that llama-server keeps per slot (its own default is 32)."""
PROMPT_CACHE = 512 * MIB
"""Bytes that llama-server keeps for prompts that lost their slot (its own default is 8 GiB)."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A value: two equal ones are launched alike. Raises ValueError for what contradicts itself.

    What an engine does not know (a layer split for vLLM, CUDA graphs for llama-server) stays at
    its default.
    """

    model: str
    build: str
    """Its full name, such as `qwen3.5-9b:q4_k_m`."""
    engine: EngineName
    gpus: tuple[str, ...]
    """Ids of the GPUs, in order; empty: the CPU alone."""
    context: int
    """Tokens of each slot, prompt and answer together."""
    slots: int
    kv_type: KvType = "f16"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    layer_split: tuple[int, ...] = ()
    """llama-server: layers on each GPU, the output counted as one more; empty: all on the one."""
    gpu_layers: int | None = None
    """llama-server: layers on the GPUs, the last ones, the output counted as one; None: all."""
    cpu_experts: int = 0
    """llama-server: the first layers whose experts stay in RAM (--n-cpu-moe)."""
    vision: bool = True
    """Whether images are taken, where the build has an encoder."""
    draft_tokens: int = 0
    """Tokens drafted at each step by multi-token prediction; 0: none."""
    graphs: bool = True
    """vLLM: CUDA graphs; False: --enforce-eager."""
    expert_parallel: bool = False
    checkpoints: int = CHECKPOINTS
    prompt_cache: int = PROMPT_CACHE
    kv_cache_bytes: int | None = None
    """vLLM: bytes for KV cache and state on each GPU, or in RAM; None: what the slots need."""
    nodes: int = 1
    """vLLM: machines of a Ray cluster; `gpus` are those of each."""
    embeddings: bool = False
    """llama-server: whether it makes embeddings beside its answers."""

    def __post_init__(self) -> None:
        wrong = next((text for text, is_wrong in self._contradictions() if is_wrong), None)
        if wrong is not None:
            raise ValueError(f"{self.build} on {self.engine}: {wrong}")

    @property
    def quantized_cache(self) -> bool:
        """Whether keys and values are kept in fewer bits than the model computes them in."""
        return self.kv_type not in WHOLE

    @property
    def key(self) -> str:
        """A name of this value, the same in every process: JSON of what is not at its default."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    def __lt__(self, other: Deployment) -> bool:
        return self.key < other.key

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes; what is at its default is left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := values[field.name]) != field.default
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Deployment:
        """Raises ValueError or TypeError for what `to_dict` cannot have written."""
        fields_of: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields_of)

    def _contradictions(self) -> list[tuple[str, bool]]:
        ranks = self.tensor_parallel * self.pipeline_parallel
        return [
            (f"unknown engine {self.engine!r}", self.engine not in get_args(EngineName)),
            (
                f"a KV cache of {self.kv_type}",
                self.kv_type not in KV_TYPES.get(self.engine, (self.kv_type,)),
            ),
            (
                "no context, slot, rank or node",
                min(self.context, self.slots, ranks, self.nodes) < 1,
            ),
            ("embeddings", self.embeddings and self.engine == "vllm"),
            ("embeddings beside drafts", self.embeddings and self.draft_tokens > 0),
            ("a GPU named twice", len(set(self.gpus)) < len(self.gpus)),
            (
                "layers split over other GPUs than it has",
                len(self.layer_split) not in (0, len(self.gpus)),
            ),
            (
                f"{ranks} ranks on {self.nodes} x {len(self.gpus)} GPUs",
                self.engine == "vllm" and ranks != max(1, len(self.gpus)) * self.nodes,
            ),
        ]
