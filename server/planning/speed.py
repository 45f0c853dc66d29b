"""How fast a deployment will be: a roofline over memory bandwidth, compute and interconnect.

A pass of the model reads its weights once, and each sequence's KV cache and state; it takes as long
as the slower of that and of the arithmetic (Williams, Waterman, Patterson: Roofline, 2009), and a
constant for each layer. The stages of a deployment (GPUs with some of the layers, RAM with some of
the experts) work one after the other, those of a tensor-parallel group together.

Half of the context counts as filled. The constants are in planning/efficiency.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Literal

from server.catalogue import Architecture
from server.planning import efficiency as constants
from server.planning.deployment import Deployment
from server.planning.efficiency import efficiency
from server.planning.footprint.cache import kv_bytes, layer_state_bytes
from server.planning.measured import NOTHING_MEASURED, Measured
from server.planning.rig import RAM_ID, Rig
from server.planning.stage import Stage, stages
from server.planning.weights import WeightMap

Bound = Literal["bandwidth", "compute", "interconnect"]

_BATCH = {"llama-server": 512, "vllm": 2048}
"""Tokens of a prompt in one pass: --ubatch-size, and vLLM's least --max-num-batched-tokens."""
_ACTIVATION = 2
"""Bytes of a number that GPUs send each other."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second, at half of the context filled."""

    prefill: float
    """Of the prompt, one request alone."""
    decode: float
    """Of the answer, one request alone."""
    decode_all: float
    """Of the answers together, with every slot busy."""
    binds: Bound
    """What takes most of the time of one answer's token; starting kernels counts as compute."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass of the model over `tokens` tokens of `sequences` sequences, in seconds."""

    deployment: Deployment
    architecture: Architecture
    rig: Rig
    tokens: float
    sequences: float
    attended: float
    """Tokens of context that each token looks at, on average."""
    is_prefill: bool = False


@dataclass(frozen=True, slots=True)
class _Time:
    bandwidth: float
    compute: float
    interconnect: float

    @property
    def total(self) -> float:
        return self.bandwidth + self.compute + self.interconnect


def speed(
    deployment: Deployment,
    architecture: Architecture,
    weights: WeightMap,
    rig: Rig,
    measured: Measured = NOTHING_MEASURED,
    parts: Sequence[Stage] | None = None,
) -> Speed:
    """The roofline, corrected by what was `measured` of the same build and devices, else of the
    same engine and devices. Raises KeyError for a GPU that is not on the rig.

    `parts`: the deployment's stages, where they are known; context and slots do not change them.
    """
    predicted = roofline(deployment, architecture, weights, rig, parts)
    if not measured.measurements:
        return predicted
    ratio = measured.ratio(deployment.engine, deployment.build, products(deployment, rig))
    return replace(
        predicted,
        prefill=predicted.prefill * ratio.prefill,
        decode=predicted.decode * ratio.decode,
        decode_all=predicted.decode_all * ratio.decode_all,
    )


def products(deployment: Deployment, rig: Rig) -> tuple[str, ...]:
    """The kinds of devices that it works on, in order, the processor last: what measurements are
    kept by. Raises KeyError for a GPU that is not on the rig."""
    gpus = tuple(rig.device(gpu).product for gpu in deployment.gpus)
    in_ram = not gpus or deployment.cpu_experts > 0 or deployment.gpu_layers is not None
    return (*gpus, rig.ram.product) if in_ram else gpus


def roofline(
    deployment: Deployment,
    architecture: Architecture,
    weights: WeightMap,
    rig: Rig,
    parts: Sequence[Stage] | None = None,
) -> Speed:
    """What the hardware allows, before any correction: what measurements are held against."""
    a, slots = architecture, deployment.slots
    parts = stages(deployment, a, weights, rig) if parts is None else parts
    attended = deployment.context / 2
    drafted = 1 + deployment.draft_tokens
    accepted = sum(constants.ACCEPTED**position for position in range(drafted))
    one = _Pass(deployment, a, rig, drafted, 1, attended)
    alone = [_time(stage, one) for stage in parts]
    # vLLM's pipeline works on as many groups of sequences at once as it has stages.
    groups = min(slots, len(parts)) if deployment.engine == "vllm" else 1
    group = slots / groups
    busy = replace(one, tokens=group * drafted, sequences=group)
    together = [_time(stage, busy).total for stage in parts]
    batch = min(_BATCH[deployment.engine], deployment.context)
    prompt = replace(one, tokens=batch, attended=attended / 2, is_prefill=True)
    return Speed(
        prefill=batch / sum(_time(stage, prompt).total for stage in parts),
        decode=accepted / sum(time.total for time in alone),
        decode_all=slots * accepted / max(sum(together), groups * max(together)),
        binds=_binds(alone),
    )


def _binds(times: list[_Time]) -> Bound:
    sums: dict[Bound, float] = {
        "bandwidth": sum(time.bandwidth for time in times),
        "compute": sum(time.compute for time in times),
        "interconnect": sum(time.interconnect for time in times),
    }
    return max(sums, key=lambda bound: sums[bound])


def _time(stage: Stage, work: _Pass) -> _Time:
    read, flops = _bytes(stage, work), _flops(stage, work)
    device = min(stage.devices, key=lambda device: device.bandwidth)
    rates = efficiency(work.deployment.engine, device)
    ranks = len(stage.devices)
    reading = read / ranks / (device.bandwidth * rates.bandwidth)
    if work.is_prefill and device.id == RAM_ID and work.deployment.gpus:
        return _sent(stage, work, read, flops)
    computing = flops / ranks / _rate(stage, work)
    layer = rates.layer
    if work.deployment.engine == "vllm" and device.id != RAM_ID and not work.deployment.graphs:
        layer = constants.EAGER_LAYER
    overhead = stage.layers * layer + stage.expert_layers * rates.expert_layer
    return _Time(
        bandwidth=reading if reading > computing else 0.0,
        compute=overhead + (computing if computing >= reading else 0.0),
        interconnect=_sums(stage, work) + constants.HOP,
    )


def _sent(stage: Stage, work: _Pass, read: float, flops: float) -> _Time:
    """In prefill, llama-server sends weights that are in RAM to the first GPU and computes there
    (ggml-backend.cpp, op_offload: from 32 tokens on)."""
    gpu = work.rig.device(work.deployment.gpus[0])
    on_gpu = replace(stage, devices=(gpu,))
    sending = read / (gpu.host_link * constants.HOST_LINK)
    return _Time(bandwidth=0.0, compute=flops / _rate(on_gpu, work), interconnect=sending)


def _bytes(stage: Stage, work: _Pass) -> float:
    """Bytes read and written in one pass.

    Of E experts, of which each token takes k at random, t tokens touch E (1 - (1 - k/E)^t).
    """
    a = work.architecture
    touched = 0.0
    if a.experts is not None and a.experts_per_token is not None:
        touched = 1 - (1 - a.experts_per_token / a.experts) ** work.tokens
    kv = kv_bytes(a, 1, work.deployment.kv_type) * work.attended * stage.full
    state = 2 * layer_state_bytes(a) * stage.linear
    head = 0 if work.is_prefill else stage.head * (1 + work.deployment.draft_tokens) + stage.mtp
    experts = stage.experts * touched * _crowding(stage, work, touched)
    return stage.dense + experts + work.sequences * (kv + state) + head


def _crowding(stage: Stage, work: _Pass, touched: float) -> float:
    """How many times the mean the busiest rank reads, where each expert is whole on one of them.

    Of m experts that are chosen, put on n ranks at random, the fullest holds about
    m/n + sqrt(2 m/n ln n) (Raab, Steger: Balls into bins, 1998), and no more than there are on it.
    """
    ranks, experts = len(stage.devices), work.architecture.experts
    if not work.deployment.expert_parallel or ranks == 1 or experts is None:
        return 1.0
    mean = touched * experts / ranks
    return min(experts / ranks, mean + sqrt(2 * mean * log(ranks))) / mean


def _flops(stage: Stage, work: _Pass) -> float:
    """A multiplication and an addition for each parameter used, and for each number of the keys
    and values attended to, queries of all heads on both."""
    a = work.architecture
    active = (a.experts_per_token or 0) / (a.experts or 1)
    used = stage.dense_parameters + stage.expert_parameters * active
    used += 0 if work.is_prefill else stage.head_parameters
    attention = 4 * a.heads * a.head_dim * work.attended * stage.full
    return work.tokens * (2 * used + attention)


def _rate(stage: Stage, work: _Pass) -> float:
    """FLOP/s of each of the stage's devices, the slowest one's."""
    device = min(stage.devices, key=lambda device: device.compute)
    rates = efficiency(work.deployment.engine, device)
    many = min(device.compute * rates.prefill, rates.ceiling)
    if work.is_prefill:
        whole = constants.WHOLE_EXPERTS if work.deployment.expert_parallel else 1.0
        return many * (rates.experts * whole if stage.expert_parameters else 1.0)
    few = rates.decode * (work.rig.cores if device.id == RAM_ID else device.compute)
    return min(few, many)


def _sums(stage: Stage, work: _Pass) -> float:
    """Seconds of tensor parallelism: two sums over all ranks for each layer, as rings do them
    (Thakur, Rabenseifner, Gropp, 2005): 2 (n - 1) / n of the bytes through each link."""
    ranks = len(stage.devices)
    if ranks == 1:
        return 0.0
    rate, latency = _link(stage, work.rig)
    payload = work.tokens * work.architecture.hidden * _ACTIVATION
    return 2 * stage.layers * (latency + 2 * (ranks - 1) / ranks * payload / rate)


def _link(stage: Stage, rig: Rig) -> tuple[float, float]:
    """(bytes/s, seconds) of the worst way between two of the stage's devices."""
    return min(_ways(stage, rig), key=lambda way: way[0])


def _ways(stage: Stage, rig: Rig) -> Iterator[tuple[float, float]]:
    members = {device.id for device in stage.devices}
    if len(members) < len(stage.devices):  # the same GPUs of several machines
        yield constants.NETWORK, constants.NETWORK_LATENCY
    slices = [device.host_link for device in stage.devices if device.mig]
    if slices:
        yield min(slices) * constants.PCIE, constants.PCIE_LATENCY
    for way in rig.interconnects:
        if way.first in members and way.second in members:
            is_pcie = way.kind == "pcie"
            share = constants.PCIE if is_pcie else constants.NVLINK
            latency = constants.PCIE_LATENCY if is_pcie else constants.NVLINK_LATENCY
            yield way.bandwidth * share, latency
