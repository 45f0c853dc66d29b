"""Which measurements say something of a deployment, and what they come to."""

from __future__ import annotations

import pytest

from server.planning.measured import NOTHING_MEASURED, Measured, Measurement, Ratio

CARD = ("NVIDIA GeForce RTX 4090",)
NINE, FOUR = "qwen3.5-9b:q4_k_m", "qwen3.5-4b:q4_k_m"


def of(build: str, products: tuple[str, ...] = CARD, **ratios: float) -> Measurement:
    return Measurement("llama-server", build, products, **ratios)


@pytest.mark.parametrize(
    ("measurements", "ratio"),
    [
        ((), Ratio(1, 1, 1)),
        ((of(NINE, prefill=0.5, decode=0.8, decode_all=0.6),), Ratio(0.5, 0.8, 0.6)),
        # Where all slots were never busy, one answer says it; a prompt is another matter.
        ((of(NINE, decode=0.8),), Ratio(1, 0.8, 0.8)),
        ((of(NINE, prefill=0.5),), Ratio(0.5, 1, 1)),
        # Another build says something of the card, until this one was measured.
        ((of(FOUR, decode=0.5),), Ratio(1, 0.5, 0.5)),
        ((of(FOUR, prefill=0.5, decode=0.5), of(NINE, decode=0.9)), Ratio(1, 0.9, 0.9)),
        # Other cards, other numbers of them and other engines say nothing.
        ((of(NINE, ("NVIDIA GeForce RTX 3090",), decode=0.5),), Ratio(1, 1, 1)),
        ((of(NINE, CARD * 2, decode=0.5),), Ratio(1, 1, 1)),
        ((Measurement("vllm", NINE, CARD, decode=0.5),), Ratio(1, 1, 1)),
        # Several: their geometric mean.
        ((of(NINE, decode=0.5), of(NINE, decode=2.0)), Ratio(1, 1, 1)),
        ((of(NINE, decode=0.32), of(NINE, decode=0.5)), Ratio(1, 0.4, 0.4)),
        # What no hardware does is no measurement: another process was in the way, or a clock wrong.
        ((of(NINE, prefill=0.05, decode=5.0, decode_all=0.0),), Ratio(1, 1, 1)),
        ((of(NINE, decode=0.04), of(NINE, decode=0.9)), Ratio(1, 0.9, 0.9)),
    ],
)
def test_the_ratio(measurements: tuple[Measurement, ...], ratio: Ratio) -> None:
    found = Measured(measurements).ratio("llama-server", NINE, CARD)
    assert found.prefill == pytest.approx(ratio.prefill)
    assert found.decode == pytest.approx(ratio.decode)
    assert found.decode_all == pytest.approx(ratio.decode_all)


def test_without_measurements_nothing_is_corrected() -> None:
    assert NOTHING_MEASURED.ratio("vllm", NINE, CARD) == Ratio()


def test_a_new_one_counts_as_much_as_all_before() -> None:
    known = NOTHING_MEASURED
    for decode in (0.4, 0.9, 1.6):
        known = known.with_one(of(NINE, decode=decode))
    known = known.with_one(of(NINE, prefill=0.5))
    (kept,) = known.measurements
    assert kept.decode == pytest.approx(((0.4 * 0.9) ** 0.5 * 1.6) ** 0.5)
    assert (kept.prefill, kept.decode_all) == (0.5, None)


def test_the_newest_stands_last_and_those_of_others_stay() -> None:
    known = Measured((of(NINE, decode=1.0), of(FOUR, decode=2.0)))
    again = known.with_one(of(NINE, decode=1.0))
    assert again.measurements == (of(FOUR, decode=2.0), of(NINE, decode=1.0))


@pytest.mark.parametrize("decode", [0.04, 0.0, 40.0])
def test_what_tells_nothing_changes_nothing(decode: float) -> None:
    known = Measured((of(NINE, decode=0.8),))
    assert known.with_one(of(NINE, decode=decode)) == known
