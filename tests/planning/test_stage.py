"""What each device works on: every tensor once, on the device where it lies."""

from __future__ import annotations

import pytest

from server.hardware.imagined import imagined
from server.planning.deployment import Deployment
from server.planning.parameters import active_share, parameters
from server.planning.rig import RAM_ID, rig
from server.planning.stage import Stage, stages
from server.planning.weights import from_catalogue
from tests.planning.machines import KNOWN

RIG = rig(imagined("4x3090+256G"))
FOUR = tuple(gpu.id for gpu in RIG.gpus)


def of(name: str, **values: object) -> tuple[Stage, ...]:
    model, build = KNOWN.resolve(name)
    assert build is not None
    weights = from_catalogue(model, build)
    assert weights is not None
    deployment = Deployment(model.id, build.name, build.engine, context=4096, slots=1, **values)  # type: ignore[arg-type]
    return stages(deployment, model.architecture, weights, RIG)


@pytest.mark.parametrize(
    ("name", "values", "devices"),
    [
        ("qwen3.5-9b:q4_k_m", {"gpus": ()}, [(RAM_ID,)]),
        ("qwen3.5-9b:q4_k_m", {"gpus": FOUR[:1]}, [FOUR[:1]]),
        ("qwen3.5-9b:q4_k_m", {"gpus": FOUR[:2]}, [FOUR[:1], FOUR[1:2]]),
        ("qwen3.5-9b:q4_k_m", {"gpus": FOUR[:1], "gpu_layers": 10}, [(RAM_ID,), FOUR[:1]]),
        ("qwen3.5-9b:q4_k_m", {"gpus": FOUR[:1], "gpu_layers": 0}, [(RAM_ID,)]),
        ("qwen3.5-35b-a3b:q4_k_m", {"gpus": FOUR[:1], "cpu_experts": 7}, [FOUR[:1], (RAM_ID,)]),
        ("qwen3.5-35b-a3b:q4_k_m", {"gpus": ()}, [(RAM_ID,)]),
        ("qwen3.5-35b-a3b:bf16", {"gpus": FOUR, "tensor_parallel": 4}, [FOUR]),
        (
            "qwen3.5-35b-a3b:bf16",
            {"gpus": FOUR, "tensor_parallel": 2, "pipeline_parallel": 2},
            [FOUR[:2], FOUR[2:]],
        ),
        (
            "qwen3.5-35b-a3b:bf16",
            {"gpus": FOUR, "pipeline_parallel": 4},
            [FOUR[:1], FOUR[1:2], FOUR[2:3], FOUR[3:]],
        ),
        (
            "qwen3.5-35b-a3b:bf16",
            {"gpus": FOUR[:2], "tensor_parallel": 2, "pipeline_parallel": 2, "nodes": 2},
            [FOUR[:2], FOUR[:2]],
        ),
    ],
)
def test_who_works_on_what(
    name: str, values: dict[str, object], devices: list[tuple[str, ...]]
) -> None:
    found = of(name, **values)
    assert [tuple(device.id for device in stage.devices) for stage in found] == devices
    model, build = KNOWN.resolve(name)
    assert build is not None
    a, weights = model.architecture, from_catalogue(model, build)
    assert weights is not None
    assert sum(stage.layers for stage in found) == a.layers
    assert sum(stage.full for stage in found) == a.full_layers
    assert sum(stage.linear for stage in found) == a.linear_layers
    assert sum(stage.expert_layers for stage in found) == (a.layers if a.experts else 0)
    read = sum(stage.dense + stage.experts + stage.head for stage in found)
    unread = 0 if a.tied else weights.embeddings  # looked up, a row for each token
    assert read == weights.total - unread - weights.vision - weights.mtp


@pytest.mark.parametrize(
    "name", [f"{model.id}:bf16" for model in KNOWN.models.values() if model.scores]
)
def test_parameters_are_those_of_the_model(name: str) -> None:
    a = KNOWN.resolve(name)[0].architecture
    (stage,) = of(name, gpus=())
    embeddings = 0 if a.tied else a.vocab * a.hidden
    whole = stage.dense_parameters + stage.expert_parameters + stage.head_parameters
    assert whole == parameters(a).text - embeddings - a.hidden  # but the last norm
    used = (a.experts_per_token or 0) / (a.experts or 1)
    active = whole - stage.expert_parameters * (1 - used)
    total = parameters(a).text
    assert active + embeddings == pytest.approx(total * active_share(a), rel=1e-4)


def test_the_experts_in_ram_are_those_of_the_first_layers() -> None:
    gpu, ram = of("qwen3.5-35b-a3b:q4_k_m", gpus=FOUR[:1], cpu_experts=10)
    assert (ram.layers, ram.expert_layers, gpu.expert_layers) == (0, 10, 30)
    assert ram.dense == ram.full == ram.linear == ram.head == 0
    assert ram.experts * 3 == pytest.approx(gpu.experts, rel=0.01)
