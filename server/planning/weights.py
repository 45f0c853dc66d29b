"""The bytes of a build's tensors, by where an engine may put them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from server.catalogue import Architecture, Build, Model
from server.planning.parameters import layer_parameters, mixer_parameters, parameters
from server.store.gguf_header import GgufHeader
from server.store.safetensors import SafetensorsHeader

_ALIGNMENT = 32
"""Bytes to a multiple of which a tensor is padded, in a GGUF file and in ggml's buffers."""
_SIX_BITS = 210 * 8 / 256
"""Bits of a parameter in Q6_K."""
_BITS: Mapping[str, float] = {
    "BF16": 16, "FP8": 8, "FP8-DYNAMIC": 8, "W4A16": 4.25, "AWQ": 4.25, "GPTQ-INT4": 4.25,
    "MXFP4": 4.25, "NVFP4": 4.5,
}  # fmt: skip
"""Bits of a parameter of the layers in a safetensors quant, scales included; all else has 16."""
_WIDE_MIXERS = frozenset({"GPTQ-INT4"})
"""Quants whose attention and gated delta nets stay in 16 bits: Qwen's own leave out all that is
called attn (onnxruntime/mobius pull request 18)."""
_GGUF_BITS: Mapping[str, float] = {
    "IQ1": 2.1, "IQ2": 2.4, "Q2": 2.8, "IQ3": 3.0, "Q3": 3.8, "IQ4": 4.4, "MXFP4": 5.0, "Q4": 4.95,
    "Q5": 5.9, "Q6": 6.66, "Q8": 8.51, "BF16": 16.05, "F16": 16.05,
}  # fmt: skip
"""Bits of a parameter over a whole GGUF file: as in the catalogue's large models of known size."""
_FILE_OVERHEAD = 44
"""Bytes of a GGUF file that are no tensors, for each token of the vocabulary."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Bytes of one layer."""

    dense: int
    """All but the routed experts: attention or gated delta net, norms, router, shared expert."""
    experts: int = 0


@dataclass(frozen=True, slots=True)
class WeightMap:
    """Bytes of tensors."""

    embeddings: int
    output: int
    """The output head and the norm before it; of a tied head, which is the embeddings, the norm."""
    layers: tuple[LayerWeights, ...]
    mtp: int = 0
    """The multi-token-prediction block, where the build has one."""
    vision: int = 0
    """The image encoder, where the build has one: the mmproj of a GGUF build."""
    exact: bool = False
    """Whether the bytes were read from the files' headers."""
    expert_sizes: frozenset[int] = frozenset()
    """The different sizes that matrices of experts have, all experts of a layer together, where
    headers tell."""

    @property
    def total(self) -> int:
        layers = sum(layer.dense + layer.experts for layer in self.layers)
        return self.embeddings + self.output + layers + self.mtp + self.vision


def from_catalogue(model: Model, build: Build) -> WeightMap:
    """The weights of a build that need not be on disk, estimated from its quant and its size.

    The parameters of each part are exact. Of their bytes the sum is the catalogue's where it is
    known, and else follows from the quant's name.
    """
    a = model.architecture
    if build.format == "gguf":
        return _gguf_estimate(a, build)
    count = parameters(a)
    # Qwen's own checkpoints have the block that drafts; who quantizes them often leaves it out.
    drafts = count.mtp if (build.repository or "").startswith("Qwen/") else 0
    narrow = sum(sum(layer_parameters(a, number)) for number in range(a.layers))
    wide = count.text + count.vision + drafts - narrow
    bits = _BITS.get(build.quant.upper(), 16)
    layer_bytes = narrow * bits / 8
    if build.weights_bytes is None and build.quant.upper() in _WIDE_MIXERS:
        layers = _mixed_layers(a, bits / 8)
    else:
        if build.weights_bytes is not None:
            layer_bytes = max(build.weights_bytes - 2 * wide, 0)
        layers = _layers(a, layer_bytes / narrow, layer_bytes / narrow)
    return WeightMap(
        embeddings=2 * a.vocab * a.hidden,
        output=2 * (a.hidden + (0 if a.tied else a.vocab * a.hidden)),
        layers=layers,
        mtp=2 * drafts,
        vision=2 * count.vision,
    )


def _gguf_estimate(a: Architecture, build: Build) -> WeightMap:
    """llama-quantize gives the head, and so a tied embedding, six bits at least, and Unsloth's
    dynamic quants (`UD-`) all that is not an expert up to eight (llama-quant.cpp; the tensor lists
    of both)."""
    count = parameters(a)
    quant = build.quant.upper()
    name = re.sub(r"^UD-", "", quant)
    guess = next((bits for start, bits in _GGUF_BITS.items() if name.startswith(start)), 4.9)
    known = build.weights_bytes
    drafts = count.mtp if "mtp" in (build.repository or "").lower() else 0
    stored = count.text + drafts
    total = known - _FILE_OVERHEAD * a.vocab if known is not None else stored * guess / 8
    mean = total / stored
    table = a.vocab * a.hidden
    head = table * max(mean, _SIX_BITS / 8)
    embeddings = head if a.tied else table * mean
    left = total - drafts * mean - embeddings - (0 if a.tied else head)
    experts = sum(layer_parameters(a, number)[1] for number in range(a.layers))
    dense = count.text - table * (1 if a.tied else 2) - experts
    per_dense = left / (dense + experts)
    if experts and quant.startswith("UD-"):
        per_dense = max(per_dense, min(1.0625, 2 * per_dense))
    return WeightMap(
        embeddings=round(embeddings),
        output=4 * a.hidden + (0 if a.tied else round(head)),
        layers=_layers(a, per_dense, (left - dense * per_dense) / experts if experts else 0),
        mtp=round(drafts * mean),
        vision=(build.mmproj.bytes or 2 * count.vision) if build.mmproj else 0,
    )


def _layers(a: Architecture, per_dense: float, per_expert: float) -> tuple[LayerWeights, ...]:
    counts = (layer_parameters(a, number) for number in range(a.layers))
    return tuple(LayerWeights(round(d * per_dense), round(e * per_expert)) for d, e in counts)


def _mixed_layers(a: Architecture, per_rest: float) -> tuple[LayerWeights, ...]:
    """What mixes tokens in 16 bits, all else in `per_rest` bytes a parameter."""
    found = []
    for number in range(a.layers):
        dense, experts = layer_parameters(a, number)
        mixer = mixer_parameters(a, number)
        rest = (dense - mixer) * per_rest
        found.append(LayerWeights(round(2 * mixer + rest), round(experts * per_rest)))
    return tuple(found)


def from_gguf_headers(
    headers: Sequence[GgufHeader], layers: int, mmproj: GgufHeader | None = None
) -> WeightMap:
    """The weights of a GGUF build, to the byte, from the headers of its parts."""
    tensors = ((one.name, one.bytes) for header in headers for one in header.tensors)
    vision = sum(_padded(one.bytes) for one in mmproj.tensors) if mmproj else 0
    return _sorted(tensors, layers, vision)


def from_safetensors_headers(headers: Sequence[SafetensorsHeader], layers: int) -> WeightMap:
    """The weights of a checkpoint, to the byte, from the headers of its shards."""
    tensors = ((one.name, one.bytes) for header in headers for one in header.tensors)
    return _sorted(tensors, layers, 0)


_LAYER = re.compile(r"(?:^|\.)(?:blk|layers)\.(\d+)\.")


def _sorted(tensors: Iterable[tuple[str, int]], layers: int, vision: int) -> WeightMap:
    """Names are those of llama.cpp's gguf-py (constants.py) and of transformers' checkpoints."""
    dense, experts = [0] * layers, [0] * layers
    embeddings = output = mtp = 0
    sizes = set()
    for name, size in tensors:
        bytes_ = _padded(size)
        match = _LAYER.search(name)
        if ".visual." in f".{name}":
            vision += bytes_
        elif name.startswith("mtp.") or (match and int(match[1]) >= layers):
            mtp += bytes_
        elif match is None:
            is_embedding = name.endswith(("token_embd.weight", "embed_tokens.weight"))
            embeddings += bytes_ if is_embedding else 0
            output += 0 if is_embedding else bytes_
        elif "_exps." in name or ".experts." in name:
            experts[int(match[1])] += bytes_
            sizes.add(bytes_)
        else:
            dense[int(match[1])] += bytes_
    both = zip(dense, experts, strict=True)
    layer_weights = tuple(LayerWeights(*pair) for pair in both)
    return WeightMap(
        embeddings, output, layer_weights, mtp, vision, exact=True, expert_sizes=frozenset(sizes)
    )


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
