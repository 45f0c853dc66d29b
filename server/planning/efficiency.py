"""What engines get out of a device's peaks: the constants of the roofline, each with its source.

Fitted to published measurements of Qwen3.5 with llama.cpp, in tokens/s of one answer (measured;
what the roofline says):

    27B Q4_K_M     RTX 4090 (39 to 44; 41), RTX 3090 (38; 39), RTX 5090 (76; 61)
    9B Q8_0        RTX 5090 (130; 122)
    35B-A3B        RTX 5080 with RAM of 77 GB/s: experts of all layers in RAM, Q4_K_M (51; 48) and
                   Q8_0 (36; 34), those of 24 layers of 40 (70; 63); RTX 3090 (110; 115);
                   vLLM in 4 bits on two RTX 3090 (156; 141)

and to what was measured here on two cores of an EPYC 9004 with the 0.8B shape in Q4_K_M: through
llama-server 28.4 tokens/s for one request, 38.7 for four, 36.2 for eight; with llama-bench and
llama-batched-bench alone 41 to 47 for one, 39 to 49 for two to eight, and 194 tokens/s of prompt.
Measurements of the running machine correct what these say (planning/measured.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import EngineName
from server.planning.device import RAM_ID, Device


@dataclass(frozen=True, slots=True)
class Efficiency:
    bandwidth: float
    """Of the peak bytes/s."""
    prefill: float
    """Of the peak FLOP/s, with many tokens at once."""
    experts: float
    """The part of `prefill` that is left where tokens go to different experts."""
    decode: float
    """Of the peak FLOP/s, with a few tokens at once; on a processor FLOP/s of one core, whatever
    its instruction sets."""
    layer: float
    """Seconds that starting a layer's kernels, and waiting for them, takes."""
    expert_layer: float
    """Seconds more for routing to experts, wherever these are."""
    ceiling: float = float("inf")
    """FLOP/s that a device gives at most in prefill."""


LLAMA_GPU = Efficiency(
    bandwidth=0.85,
    # 27B Q4_K_M: 2,200 to 2,470 tokens/s of prompt on an RTX 4090 (118 TFLOP/s of 165), 949 on an
    # RTX 3090 (49 of 71). Its kernels multiply 8-bit numbers and never came near the peak of data
    # centre cards, whose 16-bit rate is twice as high beside it.
    prefill=0.7,
    experts=0.35,
    # 9B on an RTX 5090 serves 32 requests with 536 tokens/s together: 9.6 TFLOP/s of 209.
    decode=0.045,
    layer=80e-6,
    expert_layer=70e-6,
    ceiling=150e12,
)
LLAMA_CPU = Efficiency(
    bandwidth=0.7,
    prefill=0.26,  # 194 of 768 GFLOP/s (planning/processor.py) on the two cores
    experts=0.5,
    decode=33e9,  # 38.7 to 49 tokens/s of 1.5 GFLOP each, on two cores
    layer=100e-6,  # the demo: 756 tokens/s with eight layers
    expert_layer=100e-6,
)
VLLM_GPU = Efficiency(
    bandwidth=0.85,
    prefill=0.5,
    # 35B-A3B in 4 bits on two RTX 5090: 20,900 tokens/s of prompt, 125 TFLOP/s of 419.
    experts=0.6,
    decode=0.25,
    layer=40e-6,  # with CUDA graphs; 72B on two H100: 67 us with the sums over NVLink
    expert_layer=50e-6,  # 35B-A3B on two RTX 3090: 156 tokens/s
)
VLLM_CPU = Efficiency(
    bandwidth=0.5, prefill=0.2, experts=0.5, decode=15e9, layer=1e-3, expert_layer=1e-3
)
"""Never measured with a real size: vLLM serves on a processor in tests only."""

EAGER_LAYER = 250e-6
"""Seconds in the place of VLLM_GPU's `layer` without CUDA graphs: some 30 kernels, 8 us each."""
HOST_LINK = 0.8
"""Of a slot's bytes/s, for weights that llama-server sends to the GPU in prefill."""
WHOLE_EXPERTS = 1.2
"""Times the prefill rate of experts where each is whole on one rank instead of cut over all: wider
matrices (kaito#2305, a mixture of experts on two H100 under load: 1.2 times the tokens)."""
NVLINK, PCIE = 0.7, 0.5
"""Of a link's bytes/s, for sums over all GPUs; over PCIe most cards go through RAM."""
NVLINK_LATENCY, PCIE_LATENCY = 12e-6, 25e-6
"""Seconds of one such sum (NCCL, small messages)."""
NETWORK, NETWORK_LATENCY = 10e9, 50e-6
"""Bytes/s and seconds between the machines of a cluster: 100 Gbit/s Ethernet, never measured."""
HOP = 20e-6
"""Seconds from one stage's device to the next's."""
ACCEPTED = 0.75
"""Part of the drafted tokens that are accepted, each given that the one before was (published for
one to three tokens of multi-token prediction: 0.6 to 0.9)."""


def efficiency(engine: EngineName, device: Device) -> Efficiency:
    if engine == "vllm":
        return VLLM_CPU if device.id == RAM_ID else VLLM_GPU
    return LLAMA_CPU if device.id == RAM_ID else LLAMA_GPU
