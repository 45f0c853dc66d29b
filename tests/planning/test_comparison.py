"""What a measured speed says of the prediction."""

from __future__ import annotations

from typing import Any

import pytest

from server.hardware.imagined import imagined
from server.planning.comparison import TYPICAL_CONTEXT, compare
from server.planning.deployment import Deployment
from server.planning.measured import Measured
from server.planning.rig import rig
from server.planning.speed import roofline, speed
from server.planning.weights import from_catalogue
from tests.planning.machines import KNOWN

RIG = rig(imagined("4090+64G"))
MODEL, BUILD = KNOWN.resolve("qwen3.5-9b:q4_k_m")
assert BUILD is not None
WEIGHTS = from_catalogue(MODEL, BUILD)
assert WEIGHTS is not None
A = MODEL.architecture


def deployment(slots: int, context: int = TYPICAL_CONTEXT, **more: Any) -> Deployment:
    return Deployment(
        MODEL.id, "qwen3.5-9b:q4_k_m", "llama-server", ("GPU-0",), context, slots, **more
    )


@pytest.mark.parametrize("ratio", [0.3, 1.0, 1.4])
def test_one_slot_says_it_exactly(ratio: float) -> None:
    d = deployment(1)
    told = compare(d, A, WEIGHTS, RIG, ratio * roofline(d, A, WEIGHTS, RIG).decode)
    assert told.decode == pytest.approx(ratio)
    assert (told.engine, told.build) == ("llama-server", "qwen3.5-9b:q4_k_m")
    assert told.products == ("NVIDIA GeForce RTX 4090",)
    assert (told.prefill, told.decode_all) == (None, None)


def test_what_requests_at_a_time_explain_is_no_difference() -> None:
    d = deployment(8)
    predicted = roofline(d, A, WEIGHTS, RIG)
    least, most = predicted.decode_all / 8, predicted.decode
    for decode, ratio in ((most, 1), (least, 1), ((least + most) / 2, 1), (most * 1.5, 1.5)):
        assert compare(d, A, WEIGHTS, RIG, decode).decode == pytest.approx(ratio)
    assert compare(d, A, WEIGHTS, RIG, least / 2).decode == pytest.approx(0.5)


def test_it_is_held_against_requests_of_a_usual_length() -> None:
    long = compare(deployment(1, 262_144), A, WEIGHTS, RIG, 80.0)
    assert long == compare(deployment(1), A, WEIGHTS, RIG, 80.0)


def test_what_is_learnt_makes_the_next_prediction_right() -> None:
    d = deployment(1)
    told = compare(d, A, WEIGHTS, RIG, 80.0)
    assert speed(d, A, WEIGHTS, RIG, Measured((told,))).decode == pytest.approx(80.0)


def test_what_works_in_ram_too_is_kept_apart() -> None:
    told = compare(deployment(1, gpu_layers=10), A, WEIGHTS, RIG, 10.0)
    assert told.products == ("NVIDIA GeForce RTX 4090", RIG.ram.product)
