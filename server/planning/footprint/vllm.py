"""What vLLM allocates on each GPU, or in RAM.

The cache is exact (blocks.py). Weights follow how ranks divide them. Scratch space, graphs and the
rest are estimates for a GPU, to be corrected by what starts show: vLLM's peak depends on which
kernels are compiled. File names are those of vLLM 0.32.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.blocks import blocks
from server.planning.footprint.component import RAM, Component, Footprint
from server.planning.parameters import conv_width
from server.planning.weights import WeightMap
from server.units import MIB

BATCHED_TOKENS = 8192
"""Tokens computed at a time: what Holdfast launches it with as --max-num-batched-tokens."""
CUDA_CONTEXT = 457 * MIB
"""Bytes of a GPU that a CUDA process takes before it holds anything (vllm#11251)."""
NCCL = 399 * MIB
"""What NCCL's and cuBLAS' workspaces take beside PyTorch's allocator (vllm#11251: 0.39 GiB)."""
_GRAPHS = 260 * MIB
"""The least that captured graphs were seen to take; the most was 3 GiB, with 67 sizes."""
_GRAPH = 42 * MIB
"""For each captured size: the rest of those 3 GiB."""
_SERVER = 1000 * MIB
"""RAM of the API server, the engine's core and their libraries (measured: demo, CPU build)."""
_WORKER = 420 * MIB
"""RAM of each rank (measured likewise)."""
_CUDA_WORKER = 1536 * MIB
"""What the CUDA libraries and pinned buffers add to it. Not measured here."""
_TOKEN = 2048
"""For each token of the vocabulary: its places in two tokenizers. Not measured here."""
_BF16, _F32 = 2, 4
_LARGEST_IMAGE = 16_384
"""Tokens of the largest image that Qwen's processor makes (its max_pixels / 32**2)."""

Part = tuple[str, Component, int]


def footprint(deployment: Deployment, architecture: Architecture, weights: WeightMap) -> Footprint:
    """Bytes by device and component, uncorrected; of a cluster those of its first machine."""
    return Footprint.of_bytes(_parts(deployment, architecture, weights))


def stage_layers(layers: int, stages: int) -> tuple[range, ...]:
    """The layers of each pipeline stage (distributed/utils.py, `get_pp_indices`)."""
    counts = [layers // stages] * stages
    for number in range(2, layers % stages + 2):
        counts[-number] += 1
    ends = [sum(counts[: number + 1]) for number in range(stages)]
    return tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True))


def _parts(d: Deployment, a: Architecture, weights: WeightMap) -> Iterator[Part]:
    ranks = d.gpus or (RAM,)
    worker = _WORKER + (_CUDA_WORKER if d.gpus else 0)
    yield RAM, "process", _SERVER + worker * len(ranks) + _TOKEN * a.vocab
    for number, device in enumerate(ranks):
        # Ranks of one stage are neighbours; a machine of a cluster holds whole stages.
        stage = number // d.tensor_parallel if d.nodes == 1 else 0
        yield device, "weights", _weights(d, a, weights, stage)
        if d.vision and a.vision and weights.vision:
            yield device, "vision", _image(a)
        yield from _cache(d, a, device)
        yield device, "compute", _compute(d, a)
        if d.gpus:
            yield device, "context", CUDA_CONTEXT + (NCCL if len(ranks) * d.nodes > 1 else 0)
            if d.graphs:
                yield device, "graphs", _GRAPHS + _GRAPH * _captured(d)


def _weights(d: Deployment, a: Architecture, weights: WeightMap, stage: int) -> int:
    """All that is loaded. Every matrix is divided over the ranks of a stage. The encoder and the
    embeddings lie on the first stage; the head and what drafts on the last, which has a copy of
    tied embeddings where it is another (models/qwen3_5.py, qwen3_5_mtp.py)."""
    stages = d.pipeline_parallel
    layers = [weights.layers[number] for number in stage_layers(len(weights.layers), stages)[stage]]
    size = sum(layer.dense + layer.experts for layer in layers)
    last = stage == stages - 1
    if stage == 0 or (last and a.tied):
        size += weights.embeddings
    if stage == 0 and d.vision:
        size += weights.vision
    if last:
        size += weights.output + (weights.mtp if d.draft_tokens else 0)
    return size // d.tensor_parallel


def _cache(d: Deployment, a: Architecture, device: str) -> Iterator[Part]:
    """One pool for both: the blocks that the slots' states take, and the others."""
    divided = blocks(d, a)
    pool = d.kv_cache_bytes or divided.pool(d.slots)
    states = min(pool, divided.states * d.slots * divided.bytes)
    yield device, "state", states
    yield device, "kv_cache", pool - states


def _compute(d: Deployment, a: Architecture) -> int:
    """The peak of one batch: a layer's widest activations, and the sampler's logits.

    Measured on a start as `transient_peak_headroom` (v1/worker/gpu_worker.py); published: 2.53 GiB
    for a dense model of 8192 tokens (vllm#11251).
    """
    split = d.tensor_parallel
    if a.experts is None:
        inner = 3 * (a.ffn or 0) // split
    else:
        per_token = a.experts_per_token or 0
        # fused_moe keeps both of its caches for every chosen expert, whole hidden width included.
        inner = per_token * (a.hidden + 3 * (a.moe_ffn or 0) // split) + 3 * (a.shared_ffn or 0)
    values = a.linear_value_heads * a.linear_value_head_dim
    delta_net = (3 * conv_width(a) + 4 * values) // split
    activations = BATCHED_TOKENS * (3 * a.hidden + max(inner, delta_net)) * _BF16
    logits = d.slots * a.vocab * (_BF16 + 3 * _F32)  # in both types, sorted, and as odds
    return activations + logits


def _image(a: Architecture) -> int:
    """The encoder's peak for the largest image: as in llama.cpp's, six activations of a patch."""
    assert a.vision is not None
    patches = _LARGEST_IMAGE * a.vision.merge**2
    return patches * (6 * a.vision.hidden + a.vision.channels * a.vision.patch**2) * _BF16


def _captured(d: Deployment) -> int:
    """Sizes for which graphs are captured, for whole and for piecewise ones: 1, 2, 4, and each
    multiple of 8 up to what the slots can make (config/compilation.py)."""
    most = d.slots * (1 + d.draft_tokens)
    return len([size for size in (1, 2, 4) if size <= most]) + -(-most // 8)
