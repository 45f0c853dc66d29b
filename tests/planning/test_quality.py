from __future__ import annotations

import pytest

from server.planning.quality import FINE, SOUND, retention
from tests.planning.machines import KNOWN


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("BF16", "Q8_0"),
        ("Q8_0", "Q6_K"),
        ("Q6_K", "Q5_K_M"),
        ("Q5_K_M", "UD-Q4_K_XL"),
        ("UD-Q4_K_XL", "Q4_K_M"),
        ("Q4_K_M", "IQ4_XS"),
        ("IQ4_XS", "Q4_0"),
        ("Q4_0", "UD-Q3_K_XL"),
        ("UD-Q3_K_XL", "UD-Q2_K_XL"),
        ("UD-Q2_K_XL", "UD-IQ2_XXS"),
        ("UD-IQ2_XXS", "UD-IQ1_M"),
        ("FP8", "GPTQ-Int4"),
    ],
)
def test_more_bits_keep_more(better: str, worse: str) -> None:
    assert retention(better) > retention(worse)


def test_a_quarter_of_the_bits_keeps_nearly_all_and_an_eighth_does_not() -> None:
    assert retention("BF16") == 1
    assert retention("Q4_K_M") == pytest.approx(0.988, abs=0.001)  # KL divergence 0.025
    assert retention("IQ1_M") == pytest.approx(0.66, abs=0.01)  # MMLU of the same: 48.1 of 71.5


def test_every_build_of_four_bits_and_more_is_sound_and_none_below_is() -> None:
    quants = {build.quant for model in KNOWN.models.values() for build in model.builds}
    low = {quant for quant in quants if any(mark in quant for mark in ("Q1", "Q2", "Q3"))}
    assert all(retention(quant) < SOUND for quant in low)
    assert all(retention(quant) >= SOUND for quant in quants - low)
    assert retention("Q4_K_M") >= FINE > retention("Q4_K_S")


@pytest.mark.parametrize(
    ("quant", "like"),
    [("Q5_1", 5), ("IQ3_M", 3), ("EXL2-6.5bpw", 2), ("INT8", 8), ("FP16", 16), ("mystery", 4)],
)
def test_an_unknown_quantization_is_judged_by_its_name(quant: str, like: int) -> None:
    bits = {2: "Q2_X", 3: "Q3_X", 4: "Q4_X", 5: "Q5_X", 8: "Q8_X", 16: "BF16"}
    assert retention(quant) == retention(bits[like])
