"""What llama-server allocates, and where.

Formulas follow llama.cpp's sources (commit 0c1e570, as in llama-cpp-python 0.3.36); file names in
docstrings are theirs. Weights, caches, logits and, on the CPU, scratch space are what it logs, to
the hundredth of a MiB; what the process and the CUDA driver take besides is an estimate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint.batch import Batch
from server.planning.footprint.cache import kv_bytes, layer_state_bytes, padded_context
from server.planning.footprint.component import RAM, Component, Footprint
from server.planning.footprint.graph import model_bytes, prediction_bytes, waiting_bytes
from server.planning.footprint.image import image_bytes
from server.planning.weights import WeightMap
from server.units import MIB

CUDA_CONTEXT = 457 * MIB
"""Bytes of a GPU that a CUDA process takes before it holds anything (vllm#11251)."""

# Resident bytes of the process beside its buffers, once ready (measured: 0.8B's shape with 1 to 16
# slots of 4,096 to 262,144 tokens, and the demo; CPU build of llama-cpp-python 0.3.36).
_CODE = 15 * MIB
_HEAP = 23 * MIB
_TOKEN = 305
"""For each token of the vocabulary: its text, its merge and the tables to find them by."""
_CELL = 30
"""For each token of context: position, shift and the set of its sequences (llama-kv-cells.h), as
far as they are written to."""
_HEAP_GAP = 6 * MIB
"""Reading the vocabulary leaves so much free in the heap; logits that fit in it take no more."""
_CUDA_PROCESS = 350 * MIB
"""What the CUDA libraries keep in RAM. Not measured here."""
_F32 = 4
_TURNS = 4
"""Copies of each input of a graph that several GPUs work on in turn (GGML_SCHED_MAX_COPIES)."""
_VISITING = 0.71
"""Of a layer's bytes: one matrix in four and a half bits a parameter and one, of three, in six."""

Part = tuple[str, Component, int]


def footprint(deployment: Deployment, architecture: Architecture, weights: WeightMap) -> Footprint:
    """Bytes by device and component, uncorrected."""
    parts = [
        *_weights(deployment, architecture, weights),
        *_caches(deployment, architecture),
        *_scratch(deployment, architecture, weights),
        *_prediction(deployment, architecture),
        *_host(deployment, architecture),
    ]
    return Footprint.of_bytes(parts)


def layer_devices(deployment: Deployment, layers: int) -> tuple[str, ...]:
    """The device of each layer, and last of all that of the output.

    The last `gpu_layers` are on the GPUs, in stretches as `layer_split` says (llama-model.cpp,
    `load_tensors`). The multi-token-prediction block is where the output is.
    """
    if not deployment.gpus:
        return (RAM,) * (layers + 1)
    return _layer_devices(deployment.gpus, deployment.layer_split, deployment.gpu_layers, layers)


@lru_cache(maxsize=1024)
def _layer_devices(
    gpus: tuple[str, ...], split: tuple[int, ...], gpu_layers: int | None, layers: int
) -> tuple[str, ...]:
    count = layers + 1 if gpu_layers is None else min(gpu_layers, layers + 1)
    ends = list(accumulate(split or (1,) * len(gpus)))
    on_gpus = [
        next(gpu for gpu, end in zip(gpus, ends, strict=True) if number * ends[-1] < end * count)
        for number in range(count)
    ]
    return (RAM,) * (layers + 1 - count) + tuple(on_gpus)


def _weights(d: Deployment, a: Architecture, weights: WeightMap) -> Iterator[Part]:
    """Mapped files count whole: a copy in another layout (CPU_REPACK) takes the place of pages
    that are not read again and that the kernel may drop."""
    *devices, output = layer_devices(d, len(weights.layers))
    sums = dict.fromkeys((RAM, *devices), 0)
    for number, (device, layer) in enumerate(zip(devices, weights.layers, strict=True)):
        sums[device] += layer.dense
        sums[_expert_device(d, number, device)] += layer.experts
    for device, size in sums.items():
        yield device, "weights", size
    # The embeddings are looked up on the CPU. A tied head is the same bytes there, and a copy of
    # them on a GPU (llama-model-loader.cpp, TENSOR_DUPLICATED).
    yield RAM, "weights", weights.embeddings
    yield output, "weights", weights.output + (weights.embeddings if _copied(a, output) else 0)
    if d.draft_tokens:
        yield output, "weights", weights.mtp


def _copied(a: Architecture, output: str) -> bool:
    return a.tied and output != RAM


def _expert_device(d: Deployment, layer: int, device: str) -> str:
    return RAM if layer < d.cpu_experts else device


def _caches(d: Deployment, a: Architecture) -> Iterator[Part]:
    *devices, _ = layer_devices(d, a.layers)
    tokens = padded_context(d.context) * d.slots
    full = Counter(devices[a.full_attention_interval - 1 :: a.full_attention_interval])
    cache = kv_bytes(a, tokens, d.kv_type)
    # Each drafted token keeps a state to go back to (llama-memory-recurrent.cpp).
    state = layer_state_bytes(a) * d.slots * (1 + d.draft_tokens)
    for device, layers in Counter(devices).items():
        yield device, "kv_cache", cache * full[device]
        yield device, "state", state * (layers - full[device])


def _batch(d: Deployment, *, offloaded: bool, copies: int = 1) -> Batch:
    context = padded_context(d.context)
    return Batch(
        d.slots, context, d.kv_type, d.draft_tokens, offloaded, copies, embeds=d.embeddings
    )


def _scratch(d: Deployment, a: Architecture, weights: WeightMap) -> Iterator[Part]:
    """Scratch space on each device that computes, and the logits in RAM (`output_reserve`)."""
    yield RAM, "output", d.slots * a.vocab * _F32
    if d.vision and a.vision and weights.vision:
        yield (d.gpus[0] if d.gpus else RAM), "vision", weights.vision + image_bytes(a.vision)
    devices = layer_devices(d, a.layers)
    if RAM in devices:
        yield RAM, "compute", model_bytes(a, _batch(d, offloaded=False))
    if not d.gpus:
        return
    batch = _batch(d, offloaded=True, copies=_copies(d, devices))
    for gpu in d.gpus:
        yield gpu, "compute", model_bytes(a, batch)
    yield RAM, "compute", waiting_bytes(a, batch)
    yield d.gpus[0], "compute", _visiting(d, a, weights)


def _copies(d: Deployment, devices: Sequence[str]) -> int:
    """Several GPUs take turns, each with copies of the inputs, if every layer is on one of them
    (llama-context.cpp, pipeline_parallel)."""
    turns = len(d.gpus) > 1 and RAM not in devices and not d.cpu_experts
    return _TURNS if turns else 1


def _visiting(d: Deployment, a: Architecture, weights: WeightMap) -> int:
    """Room on the first GPU for matrices that stay in RAM: long prompts are computed there all the
    same, one matrix at a time (ggml-backend.cpp, op_offload). Each larger one lies behind the gap
    that a smaller one left."""
    *devices, _ = layer_devices(d, len(weights.layers))
    in_ram = [
        layer
        for number, (device, layer) in enumerate(zip(devices, weights.layers, strict=True))
        if _expert_device(d, number, device) == RAM
    ]
    if not in_ram:
        return 0
    if weights.expert_sizes:
        return sum(weights.expert_sizes)
    dense = max(layer.dense for layer in in_ram) if a.experts is None else 0
    return round(_VISITING * max(dense, *(layer.experts for layer in in_ram)))


def _prediction(d: Deployment, a: Architecture) -> Iterator[Part]:
    """The context of multi-token prediction: a cache that stays f16, its graph, its logits."""
    if not d.draft_tokens:
        return
    devices = layer_devices(d, a.layers)
    output, copies = devices[-1], _copies(d, devices)
    batch = Batch(d.slots, padded_context(d.context), offloaded=output != RAM, copies=copies)
    yield output, "mtp", a.mtp_layers * kv_bytes(a, batch.context * d.slots)
    yield output, "mtp", prediction_bytes(a, batch)
    yield RAM, "mtp", d.slots * a.vocab * _F32
    if output != RAM:
        # And what the model computed of each token, from which drafting goes on.
        hidden = (copies - 1) * a.hidden * batch.tokens * _F32
        yield RAM, "mtp", waiting_bytes(a, batch) + hidden


def _host(d: Deployment, a: Architecture) -> Iterator[Part]:
    context, logits = padded_context(d.context), d.slots * a.vocab * _F32
    heap = _HEAP + _TOKEN * a.vocab - (logits if logits <= _HEAP_GAP else 0)
    yield RAM, "process", _CODE + heap + _CELL * context * d.slots
    yield RAM, "checkpoints", a.linear_layers * layer_state_bytes(a) * d.slots * d.checkpoints
    yield RAM, "prompt_cache", d.prompt_cache
    for gpu in d.gpus:
        yield gpu, "context", CUDA_CONTEXT
    if d.gpus:
        yield RAM, "process", _CUDA_PROCESS
