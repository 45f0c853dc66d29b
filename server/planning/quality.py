"""How capable a model is, and how much of that a quantization keeps.

The measure is the mean Kullback-Leibler divergence of the quantized model's next-token distribution
from the unquantized one's. Half of it is taken as the part of the capability that is lost: that
gives the MMLU of the lowest quants (IQ1_M keeps 67 %) and is more careful than MMLU at the upper
end, where answers of one letter hide what long answers lose.

Sources: Unsloth, "Dynamic 2.0 GGUFs" (divergence on Gemma 3 12B, MMLU on 27B) for the dynamic
quants (UD-) and the K- and IQ-quants; llama.cpp, `llama-quantize --help` (perplexity on Llama 3 8B)
for Q4_0 to Q8_0, scaled to agree at Q4_K_M, as they then do at Q3_K_M; Kurtic et al., "Give Me BF16
or Give Me Death?" (2024): FP8 is lossless but for noise, calibrated 4-bit integers lose about 1 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from server.catalogue import Model
from server.planning.deployment import KvType

SOUND = 0.965
"""From here on a build counts as the model itself: all of four bits and more."""

FINE = 0.985
"""From here on a loss is hardly to be noticed: Q4_K_M and better."""

_DIVERGENCE: Mapping[str, float] = {
    "IQ1_S": 1.036, "IQ1_M": 0.832, "UD-IQ1_S": 0.973, "UD-IQ1_M": 0.800,
    "IQ2_XXS": 0.536, "IQ2_M": 0.266, "UD-IQ2_XXS": 0.521, "UD-IQ2_M": 0.258,
    "Q2_K": 0.240, "UD-Q2_K_XL": 0.221, "IQ3_XXS": 0.230, "UD-IQ3_XXS": 0.225,
    "Q3_K_M": 0.088, "UD-Q3_K_XL": 0.081,
    "IQ4_XS": 0.034, "UD-IQ4_XS": 0.033, "IQ4_NL": 0.034, "Q4_0": 0.067, "Q4_1": 0.064,
    "Q4_K_S": 0.038, "Q4_K_M": 0.025, "UD-Q4_K_L": 0.025, "UD-Q4_K_XL": 0.024,
    "MXFP4_MOE": 0.040, "MXFP4": 0.040, "NVFP4": 0.030,
    "GPTQ-INT4": 0.025, "AWQ": 0.025, "W4A16": 0.025,
    "Q5_K_M": 0.0081, "UD-Q5_K_XL": 0.0080, "Q6_K": 0.0031, "UD-Q6_K_XL": 0.0030,
    "Q8_0": 0.0004, "UD-Q8_K_XL": 0.0003, "FP8": 0.002, "FP8-DYNAMIC": 0.002,
    "BF16": 0.0, "F16": 0.0, "F32": 0.0,
}  # fmt: skip
_BY_BITS = {1: 0.9, 2: 0.3, 3: 0.12, 4: 0.04, 5: 0.01, 6: 0.004, 8: 0.002}


_CACHE_DIVERGENCE: Mapping[KvType, float] = {"f16": 0.0, "bf16": 0.0, "q8_0": 0.001, "fp8": 0.004}
"""Of keys and values in fewer bits, beside the weights' own: q8_0 as measured on Llama 3 8B
(llama.cpp pull request 7412: 0.0008 to 0.0012). That of FP8 is not measured: it rounds four times
as coarsely. Less is never chosen."""


def cache_retention(kv_type: KvType) -> float:
    """The part of a model's capability that a KV cache of this type keeps, 0 to 1."""
    return math.exp(-_CACHE_DIVERGENCE.get(kv_type, _BY_BITS[4]) / 2)


def capability(model: Model) -> float:
    """The mean of a model's benchmark scores; 0 for a model without any."""
    return sum(model.scores.values()) / len(model.scores) if model.scores else 0.0


def retention(quant: str) -> float:
    """The part of the model's capability that is kept, 0 to 1.

    A quantization that is not in the table is judged by the first number in its name, taken as its
    bits; one without is taken for four bits.
    """
    name = quant.upper()
    divergence = _DIVERGENCE.get(name)
    if divergence is None:
        digits = re.search(r"\d+", name)
        bits = int(digits[0]) if digits else 4
        divergence = 0.0 if bits >= 16 else _BY_BITS.get(bits, _BY_BITS[4])
    return math.exp(-divergence / 2)
