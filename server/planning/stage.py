"""What of a model each device works on, in the order in which a pass goes through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.llama_cpp import layer_devices
from server.planning.parameters import drafting_share, layer_parameters
from server.planning.rig import RAM_ID, Device, Rig
from server.planning.weights import WeightMap


@dataclass(frozen=True, slots=True)
class Stage:
    """Layers, or the experts of some, on one device or on several that share each of them."""

    devices: tuple[Device, ...]
    dense: int = 0
    """Bytes that every pass reads; of all devices together, as all that follows."""
    experts: int = 0
    """Bytes of all experts."""
    dense_parameters: int = 0
    expert_parameters: int = 0
    full: int = 0
    """Layers with a KV cache."""
    linear: int = 0
    """Layers with a recurrent state."""
    layers: int = 0
    expert_layers: int = 0
    head: int = 0
    """Bytes of the output head, which a prompt needs for its last token only."""
    head_parameters: int = 0
    mtp: int = 0
    """Bytes of the multi-token-prediction block that are read to draft."""


def stages(d: Deployment, a: Architecture, weights: WeightMap, rig: Rig) -> tuple[Stage, ...]:
    """Raises KeyError for a GPU that is not on the rig."""
    return tuple(_vllm(d, a, weights, rig) if d.engine == "vllm" else _llama(d, a, weights, rig))


def _llama(d: Deployment, a: Architecture, weights: WeightMap, rig: Rig) -> Iterator[Stage]:
    """One stage for each device: its layers, and in RAM the experts that stay there."""
    *homes, output = layer_devices(d, a.layers)
    bodies: dict[str, list[int]] = {home: [] for home in homes}
    experts: dict[str, list[int]] = {}
    bodies.setdefault(output, [])
    for number, home in enumerate(homes):
        bodies[home].append(number)
        experts.setdefault(RAM_ID if number < d.cpu_experts else home, []).append(number)
    for home in dict.fromkeys((*bodies, *experts)):
        devices = (rig.device(home),)
        part = _part(devices, a, weights, bodies.get(home, []), experts.get(home, []))
        yield _with_head(part, d, a, weights) if home == output else part


def _vllm(d: Deployment, a: Architecture, weights: WeightMap, rig: Rig) -> Iterator[Stage]:
    """One stage for each step of the pipeline, with an equal part of the layers; the first steps
    have one more where they do not come out even."""
    homes = d.gpus or (RAM_ID,)
    start = 0
    for step in range(d.pipeline_parallel):
        count = a.layers // d.pipeline_parallel + (step < a.layers % d.pipeline_parallel)
        layers = range(start, start + count)
        start += count
        ranks = range(step * d.tensor_parallel, (step + 1) * d.tensor_parallel)
        devices = tuple(rig.device(homes[rank % len(homes)]) for rank in ranks)
        part = _part(devices, a, weights, layers, layers)
        is_last = step == d.pipeline_parallel - 1
        yield _with_head(part, d, a, weights) if is_last else part


def _part(
    devices: tuple[Device, ...],
    a: Architecture,
    weights: WeightMap,
    bodies: Sequence[int],
    experts: Sequence[int],
) -> Stage:
    """The layers `bodies`, without their experts, and the experts of the layers `experts`."""
    full_parameters, linear_parameters, expert_parameters = _layer_kinds(a)
    full = sum((number + 1) % a.full_attention_interval == 0 for number in bodies)
    linear = len(bodies) - full
    return Stage(
        devices,
        dense=sum(weights.layers[number].dense for number in bodies),
        experts=sum(weights.layers[number].experts for number in experts),
        dense_parameters=full * full_parameters + linear * linear_parameters,
        expert_parameters=len(experts) * expert_parameters,
        full=full,
        linear=linear,
        layers=len(bodies),
        expert_layers=len(experts) if a.experts is not None else 0,
    )


def _with_head(part: Stage, d: Deployment, a: Architecture, weights: WeightMap) -> Stage:
    return replace(
        part,
        head=weights.output + (weights.embeddings if a.tied else 0),
        head_parameters=a.vocab * a.hidden,
        mtp=round(weights.mtp * d.draft_tokens * drafting_share(a)) if d.draft_tokens else 0,
    )


@lru_cache(maxsize=64)
def _layer_kinds(a: Architecture) -> tuple[int, int, int]:
    """Parameters of a layer: with full attention, with a gated delta net, both without experts; and
    of its experts."""
    full, experts = layer_parameters(a, a.full_attention_interval - 1)
    linear, _ = layer_parameters(a, 0) if a.full_attention_interval > 1 else (full, experts)
    return full, linear, experts
