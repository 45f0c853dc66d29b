"""What llama-server allocates, and where.

Formulas follow llama.cpp's sources (commit 0c1e570, as in llama-cpp-python 0.3.36); file names in
docstrings are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.cache import kv_bytes, layer_state_bytes, padded_context
from server.planning.footprint.component import RAM, Component, Footprint
from server.planning.footprint.flat import _compute, image_compute
from server.planning.weights import WeightMap
from server.units import MIB

CUDA_CONTEXT = 457 * MIB
"""Bytes of a GPU that a CUDA process takes before it holds anything (vllm#11251)."""
PROCESS = 220 * MIB
"""Code, vocabulary and heap of the process."""
_F32 = 4

Part = tuple[str, Component, int]


def footprint(deployment: Deployment, architecture: Architecture, weights: WeightMap) -> Footprint:
    parts = [
        *_weights(deployment, architecture, weights),
        *_caches(deployment, architecture),
        *_scratch(deployment, architecture, weights),
        *_host(deployment, architecture),
    ]
    return Footprint.of_bytes(parts)


def layer_devices(deployment: Deployment, layers: int) -> tuple[str, ...]:
    """The device of each layer, and last of all that of the output (llama-model.cpp, load_tensors).

    The last `gpu_layers` are on the GPUs, in stretches as `layer_split` says.
    """
    if not deployment.gpus:
        return (RAM,) * (layers + 1)
    count = layers + 1 if deployment.gpu_layers is None else min(deployment.gpu_layers, layers + 1)
    ends = list(accumulate(deployment.layer_split or (1,) * len(deployment.gpus)))
    first = layers + 1 - count
    on_gpus = []
    for number in range(count):
        position = number / count * ends[-1]
        on_gpus.append(
            next(g for g, end in zip(deployment.gpus, ends, strict=True) if position < end)
        )
    return (RAM,) * first + tuple(on_gpus)


def _weights(d: Deployment, a: Architecture, weights: WeightMap) -> Iterator[Part]:
    *devices, output = layer_devices(d, len(weights.layers))
    # The embeddings are looked up on the CPU. A tied head is the same bytes there, and a copy of
    # them on a GPU (llama-model-loader.cpp, TENSOR_DUPLICATED).
    yield RAM, "weights", weights.embeddings
    yield output, "weights", weights.output
    if a.tied and output != RAM:
        yield output, "weights", weights.embeddings
    for number, (device, layer) in enumerate(zip(devices, weights.layers, strict=True)):
        yield device, "weights", layer.dense
        yield (RAM if number < d.cpu_experts else device), "weights", layer.experts
    if d.draft_tokens:
        yield output, "mtp", weights.mtp


def _caches(d: Deployment, a: Architecture) -> Iterator[Part]:
    *devices, output = layer_devices(d, a.layers)
    context = padded_context(d.context)
    for number, device in enumerate(devices):
        if (number + 1) % a.full_attention_interval == 0:
            yield device, "kv_cache", kv_bytes(a, context * d.slots, d.kv_type)
        else:
            yield device, "state", layer_state_bytes(a) * d.slots * (1 + d.draft_tokens)
    if d.draft_tokens:
        yield output, "mtp", kv_bytes(a, context * d.slots, d.kv_type) * a.mtp_layers


def _scratch(d: Deployment, a: Architecture, weights: WeightMap) -> Iterator[Part]:
    devices = dict.fromkeys(layer_devices(d, a.layers))
    for device in devices:
        yield device, "compute", _compute(a, padded_context(d.context), d.slots)
    yield RAM, "output", d.slots * a.vocab * _F32
    if d.vision and a.vision and weights.vision:
        device = d.gpus[0] if d.gpus else RAM
        yield device, "vision", weights.vision + image_compute(a.vision)


def _host(d: Deployment, a: Architecture) -> Iterator[Part]:
    for gpu in d.gpus:
        yield gpu, "context", CUDA_CONTEXT
    yield RAM, "process", PROCESS
    yield RAM, "checkpoints", a.linear_layers * layer_state_bytes(a) * d.slots * d.checkpoints
    yield RAM, "prompt_cache", d.prompt_cache
