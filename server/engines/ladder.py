"""What to try when an engine had too little memory: one step down a fixed ladder. Pure.

In order: fewer sequences at a time, no CUDA graphs, a shorter context, a smaller build, less on the
GPUs. The first step that is left is taken, so that what costs quality or speed comes last. Every
step takes less memory than the one before: the ladder ends, and no configuration comes twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from server.planning.deployment import Deployment

_CONTEXT_STEP = 256  # tokens; llama.cpp rounds each slot's context up to a multiple of this
_PARTS = 4  # a step of offloading moves this part of the layers


@dataclass(frozen=True, slots=True)
class Footing:
    """What a model's ladder stands on."""

    layers: int
    experts: bool
    """Whether its feed-forward layers are mixtures of experts."""
    context: int = 4096
    """Tokens that each slot must keep, as it was asked for."""
    slots: int = 1
    smaller: tuple[str, ...] = ()
    """Its other builds that are held and run on the same engine, by full name, largest first, each
    smaller than the one that was planned."""


def step_down(
    failed: Deployment, tried: Collection[Deployment], footing: Footing
) -> Deployment | None:
    """What to try after `failed`; never one of `tried`; None where the ladder ends."""
    for lower in _steps(failed, footing):
        if lower != failed and lower not in tried:
            return lower
    return None


def difference(before: Deployment, after: Deployment) -> str:
    """The step in words: `2 slots instead of 4`."""
    pairs = zip(_words(before), _words(after), strict=True)
    return (
        ", ".join(f"{new} instead of {old}" for old, new in pairs if new not in ("", old))
        or "the same"
    )


def _words(d: Deployment) -> tuple[str, ...]:
    layers = "all layers" if d.gpu_layers is None else f"{d.gpu_layers} layers"
    return (
        d.build,
        f"{d.slots} slots",
        "CUDA graphs" if d.graphs else "no CUDA graphs",
        f"{d.context} tokens a slot",
        f"{layers} on GPUs" if d.gpus else "the CPU alone",
        f"experts of {d.cpu_experts} layers in RAM" if d.gpus else "",
    )


def _steps(d: Deployment, footing: Footing) -> Iterator[Deployment]:
    if (slots := d.slots // 2) >= max(1, footing.slots):
        yield replace(d, slots=slots, kv_cache_bytes=None)
    if d.engine == "vllm" and d.gpus and d.graphs:
        yield replace(d, graphs=False)
    context = d.context // 2 // _CONTEXT_STEP * _CONTEXT_STEP
    if context >= max(_CONTEXT_STEP, footing.context):
        yield replace(d, context=context, kv_cache_bytes=None)
    # Another build's vectors could not be compared with those that were made before.
    known = () if d.embeddings else footing.smaller
    for build in known[known.index(d.build) + 1 :] if d.build in known else known:
        yield replace(d, build=build)
    if d.engine == "llama-server" and d.gpus:
        yield from _offloaded(d, footing)


def _offloaded(d: Deployment, footing: Footing) -> Iterator[Deployment]:
    step = -(-(footing.layers + 1) // _PARTS)
    if footing.experts and d.cpu_experts < footing.layers:
        yield replace(d, cpu_experts=min(footing.layers, d.cpu_experts + step))
        return
    layers = (footing.layers + 1 if d.gpu_layers is None else d.gpu_layers) - step
    if layers > 0:
        split = _scaled(d.layer_split, layers) if d.layer_split else ()
        yield replace(d, gpu_layers=layers, layer_split=split)
    else:
        yield replace(d, gpus=(), gpu_layers=None, layer_split=(), cpu_experts=0)


def _scaled(split: tuple[int, ...], layers: int) -> tuple[int, ...]:
    """`layers` divided as `split` is, each GPU keeping one at least."""
    total = sum(split)
    parts = [max(1, part * layers // total) for part in split]
    parts[-1] = max(1, parts[-1] + layers - sum(parts))
    return tuple(parts)
