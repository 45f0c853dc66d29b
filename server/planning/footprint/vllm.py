"""What vLLM allocates on each GPU, or in RAM."""

from __future__ import annotations

from collections.abc import Iterator

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.cache import kv_bytes, layer_state_bytes
from server.planning.footprint.component import RAM, Component, Footprint
from server.planning.weights import WeightMap
from server.units import GIB, MIB

CUDA_CONTEXT = 457 * MIB
"""Bytes of a GPU that a CUDA process takes before it holds anything (vllm#11251)."""
NON_TORCH = 399 * MIB
"""Bytes that NCCL and cuBLAS take beside PyTorch's allocator (vllm#11251: 0.39 GiB)."""
PROCESS = 3 * GIB
"""RAM of the server and of its workers: Python, PyTorch, tokenizer."""

Part = tuple[str, Component, int]


def footprint(deployment: Deployment, architecture: Architecture, weights: WeightMap) -> Footprint:
    return Footprint.of_bytes(_parts(deployment, architecture, weights))


def _parts(d: Deployment, a: Architecture, weights: WeightMap) -> Iterator[Part]:
    ranks = d.tensor_parallel * d.pipeline_parallel
    yield RAM, "process", PROCESS
    for device in d.gpus or (RAM,):
        vision = weights.vision if d.vision else 0
        yield device, "weights", (weights.total - weights.vision - weights.mtp) // ranks
        yield device, "vision", vision // d.tensor_parallel
        if d.draft_tokens:
            yield device, "mtp", weights.mtp // ranks
        yield (
            device,
            "kv_cache",
            a.full_layers * kv_bytes(a, d.context * d.slots, d.kv_type) // ranks,
        )
        yield device, "state", a.linear_layers * layer_state_bytes(a) * d.slots // ranks
        if device != RAM:
            yield device, "context", CUDA_CONTEXT + NON_TORCH
