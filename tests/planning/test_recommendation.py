from __future__ import annotations

import os
from pathlib import Path

import pytest

from server import catalogue, settings
from server.planning.demand import READABLE
from server.planning.parameters import active_share, parameters
from server.planning.places import CPU_BANDWIDTH, Place
from server.planning.recommendation import recommend, runs
from server.units import GIB

KNOWN = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)


@pytest.mark.parametrize(
    ("memory", "bandwidth", "model"),
    [
        (0.5, CPU_BANDWIDTH, None),
        (4, CPU_BANDWIDTH, "qwen3.5-2b"),
        (16, CPU_BANDWIDTH, "qwen3.5-4b"),  # the 9B would fit, but not be readable
        (64, CPU_BANDWIDTH, "qwen3.5-35b-a3b"),  # of which a token reads a tenth
        (8, 256e9, "qwen3.5-4b"),
        (12, 360e9, "qwen3.5-9b"),
        (80, 3.3e12, "qwen3.5-35b-a3b"),
    ],
)
def test_the_best_model_that_fits_and_is_readable(
    memory: float, bandwidth: float, model: str | None
) -> None:
    found = recommend(KNOWN, Place("here", int(memory * GIB), bandwidth))
    assert (found.model.id if found else None) == model
    if found is not None:
        assert found.tokens_per_second >= READABLE
        assert found.bytes_needed <= memory * GIB
        assert found.build.revision is not None
        assert found.build.bytes is not None


@pytest.mark.parametrize("model", KNOWN.models.values(), ids=lambda model: model.id)
def test_the_active_share_is_what_the_models_names_say(model: catalogue.Model) -> None:
    share = active_share(model.architecture)
    _, _, active = model.id.partition("-a")
    if not active:
        assert share == 1.0
        return
    billions = share * parameters(model.architecture).text / 1e9
    assert billions == pytest.approx(float(active.removesuffix("b")), rel=0.2)


@pytest.mark.parametrize(
    ("build", "memory", "expected"),
    [
        ("qwen3.5-0.8b:ud-q4_k_xl", [0.5], False),
        ("qwen3.5-0.8b:ud-q4_k_xl", [4], True),
        ("qwen3.5-0.8b:ud-q4_k_xl", [0.5, 4], True),
        ("qwen3.5-9b:ud-q4_k_xl", [4], False),
        ("qwen3.5-9b:bf16", [400], False),  # no engine for it yet
        ("qwen3.5-122b-a10b:ud-q4_k_xl", [400], False),  # its bytes are not known
    ],
)
def test_what_a_machine_runs(build: str, memory: list[float], expected: bool) -> None:
    model, found = KNOWN.resolve(build)
    assert found is not None
    places = [Place("here", int(size * GIB), CPU_BANDWIDTH) for size in memory]
    assert runs(model, found, places) is expected
