"""What of a model each device works on, in the order in which a pass goes through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.llama_cpp import layer_devices
from server.planning.parameters import layer_parameters
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
    found: dict[str, Stage] = {}
    for number, home in enumerate(homes):
        whole = _layer(a, weights, number)
        body = replace(whole, experts=0, expert_parameters=0, expert_layers=0)
        experts = Stage(
            (),
            experts=whole.experts,
            expert_parameters=whole.expert_parameters,
            expert_layers=whole.expert_layers,
        )
        _add(found, home, body)
        if a.experts is not None:
            _add(found, RAM_ID if number < d.cpu_experts else home, experts)
    _add(found, output, _head(d, a, weights))
    for home, stage in found.items():
        yield replace(stage, devices=(rig.device(home),))


def _vllm(d: Deployment, a: Architecture, weights: WeightMap, rig: Rig) -> Iterator[Stage]:
    """One stage for each step of the pipeline, with an equal part of the layers; the first steps
    have one more where they do not come out even."""
    homes = d.gpus or (RAM_ID,)
    start = 0
    for step in range(d.pipeline_parallel):
        count = a.layers // d.pipeline_parallel + (step < a.layers % d.pipeline_parallel)
        stage = Stage(())
        for number in range(start, start + count):
            stage = _sum(stage, _layer(a, weights, number))
        if step == d.pipeline_parallel - 1:
            stage = _sum(stage, _head(d, a, weights))
        ranks = range(step * d.tensor_parallel, (step + 1) * d.tensor_parallel)
        yield replace(stage, devices=tuple(rig.device(homes[rank % len(homes)]) for rank in ranks))
        start += count


def _layer(a: Architecture, weights: WeightMap, number: int) -> Stage:
    dense, experts = layer_parameters(a, number)
    is_full = (number + 1) % a.full_attention_interval == 0
    return Stage(
        (),
        dense=weights.layers[number].dense,
        experts=weights.layers[number].experts,
        dense_parameters=dense,
        expert_parameters=experts,
        full=int(is_full),
        linear=int(not is_full),
        layers=1,
        expert_layers=int(a.experts is not None),
    )


def _head(d: Deployment, a: Architecture, weights: WeightMap) -> Stage:
    return Stage(
        (),
        head=weights.output + (weights.embeddings if a.tied else 0),
        head_parameters=a.vocab * a.hidden,
        mtp=weights.mtp * d.draft_tokens,
    )


def _add(found: dict[str, Stage], home: str, part: Stage) -> None:
    found[home] = _sum(found.get(home, Stage(())), part)


def _sum(one: Stage, other: Stage) -> Stage:
    return Stage(
        one.devices,
        dense=one.dense + other.dense,
        experts=one.experts + other.experts,
        dense_parameters=one.dense_parameters + other.dense_parameters,
        expert_parameters=one.expert_parameters + other.expert_parameters,
        full=one.full + other.full,
        linear=one.linear + other.linear,
        layers=one.layers + other.layers,
        expert_layers=one.expert_layers + other.expert_layers,
        head=one.head + other.head,
        head_parameters=one.head_parameters + other.head_parameters,
        mtp=one.mtp + other.mtp,
    )
