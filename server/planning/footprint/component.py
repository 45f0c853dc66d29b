"""What an engine holds memory for, and how much of it on which device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

RAM = "ram"
"""The id of the host's memory among the devices; a GPU's is its UUID."""

Component = Literal[
    "weights",
    "vision",
    "mtp",
    "kv_cache",
    "state",
    "compute",
    "output",
    "context",
    "graphs",
    "checkpoints",
    "prompt_cache",
    "process",
]
"""`weights`: those of multi-token prediction too, and vLLM's of the image encoder. `vision`: the
encoder's scratch space, and with llama-server its weights. `mtp`: the cache and the scratch space
that drafting has of its own. `state`: the recurrent state of the gated-delta-net layers. `compute`:
scratch space of the largest graph. `output`: logits and embeddings handed out. `context`: what the
GPU's driver takes for a process. `graphs`: captured CUDA graphs. `checkpoints` and `prompt_cache`:
copies of states in host memory, which grow with use. `process`: the engine's code, tables, heap."""

COMPONENTS: tuple[Component, ...] = get_args(Component)

EXACT: frozenset[Component] = frozenset({"kv_cache", "state", "checkpoints", "prompt_cache"})
"""Components that follow from the flags to the byte: they are never corrected by observations."""


@dataclass(frozen=True, slots=True, order=True)
class Share:
    device: str
    component: Component
    bytes: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes by device and component, each pair once at most, sorted; nothing is zero."""

    shares: tuple[Share, ...]

    @classmethod
    def of_bytes(cls, parts: Iterable[tuple[str, Component, int]]) -> Footprint:
        """The sum of `parts`: device, component, bytes."""
        sums: dict[tuple[str, Component], int] = {}
        for device, component, size in parts:
            sums[device, component] = sums.get((device, component), 0) + size
        return cls(tuple(Share(*key, size) for key, size in sorted(sums.items()) if size))

    @property
    def total(self) -> int:
        return sum(share.bytes for share in self.shares)

    def on(self, device: str) -> int:
        return sum(share.bytes for share in self.shares if share.device == device)

    def of(self, component: Component) -> int:
        return sum(share.bytes for share in self.shares if share.component == component)

    def by_device(self) -> Mapping[str, int]:
        return {device: self.on(device) for device in dict.fromkeys(s.device for s in self.shares)}

    def by_component(self, device: str) -> Mapping[Component, int]:
        return {share.component: share.bytes for share in self.shares if share.device == device}

    def to_dict(self) -> dict[str, Any]:
        """`{device: {component: bytes}}`, for JSON."""
        return {device: dict(self.by_component(device)) for device in self.by_device()}
