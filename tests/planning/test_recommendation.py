"""What a machine without a model is told to get."""

from __future__ import annotations

import pytest

from server import catalogue
from server.catalogue import EngineName
from server.hardware.imagined import imagined
from server.planning.demand import READABLE
from server.planning.parameters import active_share, parameters
from server.planning.placement import place
from server.planning.recommendation import recommend, runnable
from server.planning.rig import rig
from tests.planning.machines import CASES, KNOWN
from tests.planning.test_placement import offered

LLAMA: tuple[EngineName, ...] = ("llama-server",)
BOTH: tuple[EngineName, ...] = ("llama-server", "vllm")


@pytest.mark.parametrize(
    ("hardware", "model"),
    [
        ("cpu+1G", None),
        ("cpu+4G", "qwen3.5-2b"),
        ("cpu+16G", "qwen3.5-4b"),  # the 9B would fit, but not be readable
        ("cpu+64G+16c", "qwen3.5-35b-a3b"),  # of which a token reads a tenth
        ("3060-12G+8G", "qwen3.5-9b"),
        ("3060-12G+32G", "qwen3.5-35b-a3b"),  # with experts in RAM
    ],
)
def test_the_best_model_that_fits_and_is_readable(hardware: str, model: str | None) -> None:
    at = rig(imagined(hardware))
    found = recommend(KNOWN, at, engines=LLAMA, cuda=True)
    assert (found.model.id if found else None) == model
    if found is not None:
        assert found.tokens_per_second >= READABLE
        assert found.bytes_needed <= sum(at.pools().values())
        assert found.build.revision is not None
        assert found.build.bytes is not None


@pytest.mark.parametrize("hardware", ["cpu+8G", "cpu+16G", "3060-12G+32G"])
def test_what_leads_the_plan_is_no_better(hardware: str) -> None:
    case = next(c for c in CASES if (c.hardware, c.wanted) == (hardware, "auto"))
    found, _ = offered(case)
    plan = place(found, case.demand, case.rig)
    leader = max(plan.resident, key=lambda a: a.option.capability)
    told = recommend(KNOWN, case.rig, engines=BOTH, cuda=True)
    assert told is not None
    assert told.model.id == leader.wish.model


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
    ("build", "hardware", "engines", "expected"),
    [
        ("qwen3.5-0.8b:ud-q4_k_xl", "cpu+1G", LLAMA, False),
        ("qwen3.5-0.8b:ud-q4_k_xl", "cpu+4G", LLAMA, True),
        ("qwen3.5-9b:ud-q4_k_xl", "cpu+4G", LLAMA, False),
        ("qwen3.5-27b:ud-q4_k_xl", "3060-12G+32G", LLAMA, True),  # a part of it in RAM
        ("qwen3.5-9b:bf16", "A6000+128G", LLAMA, False),  # its engine is not there
        ("qwen3.5-9b:bf16", "A6000+128G", BOTH, True),
        ("qwen3.5-122b-a10b:ud-q4_k_xl", "cpu+512G", LLAMA, False),  # its bytes are not known
    ],
)
def test_what_a_machine_runs(
    build: str, hardware: str, engines: tuple[EngineName, ...], expected: bool
) -> None:
    model, found = KNOWN.resolve(build)
    assert found is not None
    runs = runnable(KNOWN, rig(imagined(hardware)), engines=engines, cuda=True)
    assert runs(model, found) is expected
