"""How a model can be laid over a rig: on which GPUs, split how, with what left in RAM.

Nothing here depends on how much memory is free: with more of it every shape is still there, so a
plan can only get better. GPUs that are alike are named once, by the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product

from server.catalogue import Architecture, Build, EngineName
from server.planning.alike import Alike, Group
from server.planning.deployment import Deployment, KvType
from server.planning.parameters import layer_parameters
from server.planning.rig import Rig

_COUNTS = (1, 2, 3, 4, 6, 8, 16)
_PARTS = 8
"""Steps in which layers, or their experts, are left in RAM; half as many where all could stay."""
_FILLED = 0.4
"""The part of GPUs' memory that weights fill before one more GPU, or RAM, is of use."""
_FEW = 4
"""GPUs up to which every mixture of unlike ones is looked at; of more, the roomiest."""
_BLOCK = 128
"""Rows that share a scale in FP8 and 4-bit checkpoints: a rank cannot hold a part of them."""
_LEAST_FOR_FP8 = (8, 9)
_LEAST_CAPABILITY = (8, 0)
"""Of the CUDA kernels that vLLM has for BF16, FP8 (as weights) and 4-bit weights."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A deployment without its build, context and slots. The fields are Deployment's."""

    engine: EngineName
    gpus: tuple[str, ...] = ()
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    layer_split: tuple[int, ...] = ()
    gpu_layers: int | None = None
    cpu_experts: int = 0
    kv_type: KvType = "f16"
    draft_tokens: int = 0
    embeddings: bool = False

    def deployment(
        self, build: Build, context: int, slots: int, *, vision: bool = True
    ) -> Deployment:
        return Deployment(
            model=build.model,
            build=build.name,
            engine=self.engine,
            gpus=self.gpus,
            context=context,
            slots=slots,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            layer_split=self.layer_split,
            gpu_layers=self.gpu_layers,
            cpu_experts=self.cpu_experts,
            kv_type=self.kv_type,
            draft_tokens=self.draft_tokens,
            vision=vision,
            embeddings=self.embeddings,
        )


def shapes(
    a: Architecture, build: Build, weights: int, rig: Rig, alike: Alike, *, cuda: bool
) -> Iterator[Shape]:
    """Every shape that can be of use to a build of `weights` bytes.

    `cuda`: whether llama-server can use NVIDIA GPUs. It gains nothing from more GPUs but their
    memory, so that what fills few of them is not split over many, and what is small beside them
    leaves nothing in RAM.
    """
    if build.engine == "vllm":
        yield from _vllm(a, build, rig, alike)
        return
    yield Shape("llama-server")
    if not cuda:
        return
    for gpus in _sets(rig, alike.by_kind):
        memory = [float(rig.device(gpu).memory) for gpu in gpus]
        if len(gpus) > 1 and weights < _FILLED * sum(memory[:-1]):
            continue
        yield Shape("llama-server", gpus, layer_split=_split(a, memory, 0))
        is_own = rig.device(gpus[0]).pool == gpus[0]
        if is_own and _offloads(gpus, rig, alike.by_kind) and weights > _FILLED * sum(memory):
            yield from _offloaded(a, gpus, memory, 2 if weights < sum(memory) else 1)


def _offloaded(
    a: Architecture, gpus: tuple[str, ...], weights: Sequence[float], step: int
) -> Iterator[Shape]:
    """A part in RAM: of a mixture of experts the experts, else whole layers."""
    for part in range(step, _PARTS + (a.experts is not None), step):
        if a.experts is not None:
            experts = -(-a.layers * part // _PARTS)
            split = _split(a, weights, experts)
            yield Shape("llama-server", gpus, layer_split=split, cpu_experts=experts)
        else:
            layers = (a.layers + 1) * part // _PARTS
            if len(gpus) == 1:
                yield Shape("llama-server", gpus, gpu_layers=layers)
            elif layers >= len(gpus):
                split = _even(layers, weights)
                yield Shape("llama-server", gpus, layer_split=split, gpu_layers=layers)


def _offloads(gpus: tuple[str, ...], rig: Rig, alike: Sequence[Group]) -> bool:
    """RAM helps out where there is one GPU, and where all that are alike, or all, do not do."""
    whole = [gpu.id for gpu in rig.gpus if not gpu.mig]
    return len(gpus) == 1 or len(gpus) == len(whole) or any(gpus == group for group in alike)


def _sets(rig: Rig, alike: Sequence[Group]) -> Iterator[tuple[str, ...]]:
    """GPUs that may share a model. MIG instances stay alone, as do GPUs that use RAM."""
    joinable = [g for g in alike if not rig.device(g[0]).mig and rig.device(g[0]).pool == g[0]]
    for group in alike:
        counts = [count for count in _COUNTS if count < len(group)] + [len(group)]
        for count in counts if group in joinable else [1]:
            yield group[:count]
    if len(joinable) < 2:
        return
    total = sum(len(group) for group in joinable)
    if total <= _FEW:
        for mixture in product(*(range(len(group) + 1) for group in joinable)):
            if sum(count > 0 for count in mixture) > 1:
                yield _in_order(rig, joinable, mixture)
        return
    roomiest = sorted((gpu for g in joinable for gpu in g), key=lambda g: -rig.device(g).memory)
    for count in (2, 4, total):
        chosen = roomiest[:count]
        if sum(any(gpu in group for gpu in chosen) for group in joinable) > 1:
            yield tuple(gpu.id for gpu in rig.gpus if gpu.id in chosen)


def _in_order(rig: Rig, joinable: Sequence[Group], counts: Sequence[int]) -> tuple[str, ...]:
    chosen = {gpu for group, count in zip(joinable, counts, strict=True) for gpu in group[:count]}
    return tuple(gpu.id for gpu in rig.gpus if gpu.id in chosen)


def _split(a: Architecture, weights: Sequence[float], experts: int) -> tuple[int, ...]:
    """Layers for each GPU, the output as one more, so that parameters are as `weights`."""
    if len(weights) == 1:
        return ()
    sizes = [
        dense + (routed if number >= experts else 0)
        for number in range(a.layers)
        for dense, routed in [layer_parameters(a, number)]
    ]
    sizes.append(a.vocab * a.hidden)
    total, sums = sum(sizes), list(accumulate(sizes))
    ends = [0]
    for end in list(accumulate(weights))[:-1]:
        goal = end / sum(weights) * total
        best = min(range(len(sums)), key=lambda i: abs(sums[i] - goal)) + 1
        ends.append(min(max(best, ends[-1] + 1), len(sizes) - (len(weights) - len(ends))))
    ends.append(len(sizes))
    return tuple(end - start for start, end in pairwise(ends))


def _even(layers: int, weights: Sequence[float]) -> tuple[int, ...]:
    """`layers` shared out as `weights`, at least one for each."""
    spare = layers - len(weights)
    ends = [round(spare * end / sum(weights)) for end in accumulate(weights)]
    return tuple(end - start + 1 for start, end in pairwise([0, *ends]))


def _vllm(a: Architecture, build: Build, rig: Rig, alike: Alike) -> Iterator[Shape]:
    if not rig.gpus:
        yield Shape("vllm")
        return
    for kind in alike.by_kind:
        first = rig.device(kind[0])
        if (first.capability or (0, 0)) < _LEAST_CAPABILITY:
            continue
        yield Shape("vllm", kind[:1])
        if first.mig or first.pool != first.id:
            continue
        joined = [group for group in alike.by_link if set(group) <= set(kind)]
        for count in _COUNTS[1:]:
            homes = [group for group in joined if len(group) >= count] or [kind]
            for group in homes if count <= len(kind) else ():
                yield from _ranks(a, build, rig, group[:count])


def _ranks(a: Architecture, build: Build, rig: Rig, gpus: Group) -> Iterator[Shape]:
    """As many of the GPUs share each layer as the model allows; over a slow bus, none as well.

    Never with whole experts on each (expert parallelism): with so few requests at a time as plans
    are compared by, all would wait for the one with most of the chosen experts (tests of speed.py),
    and it takes no less memory. Nor over several machines: a rig is one, and Deployment.nodes is
    set by hand.
    """
    count = len(gpus)
    tensor = max(n for n in range(1, count + 1) if count % n == 0 and divides(a, build, n))
    if count // tensor <= a.full_layers:  # each stage needs a KV cache
        yield Shape("vllm", gpus, tensor, count // tensor)
    is_slow = any(rig.interconnect(*pair).kind == "pcie" for pair in pairwise(gpus))
    if tensor > 1 and is_slow and count <= a.full_layers:
        yield Shape("vllm", gpus, 1, count)


def divides(a: Architecture, build: Build, ranks: int) -> bool:
    """Whether vLLM can cut the model's tensors into so many."""
    heads = (a.heads, a.linear_key_heads, a.linear_value_heads)
    whole = all(count % ranks == 0 for count in heads)
    replicated = a.kv_heads % ranks == 0 or ranks % a.kv_heads == 0
    widths = [width for width in (a.ffn, a.moe_ffn, a.shared_ffn) if width is not None]
    block = 1 if build.quant.upper() in ("BF16", "F16") else _BLOCK
    return whole and replicated and all(width % (ranks * block) == 0 for width in widths)


def quantized_cache(shape: Shape, rig: Rig) -> KvType | None:
    """The type in which the engine keeps keys and values in half the bytes, at the least loss; None
    where it cannot. vLLM's kernels for FP8 numbers need a GPU that computes with them."""
    if shape.engine == "llama-server":
        return "q8_0"
    able = all((rig.device(gpu).capability or (0, 0)) >= _LEAST_FOR_FP8 for gpu in shape.gpus)
    return "fp8" if shape.gpus and able else None
