"""vLLM's memory: how ranks divide what is loaded, and the one pool of cache and state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from server.catalogue import Model, load
from server.engines import vllm as engine
from server.planning.deployment import Deployment
from server.planning.footprint import RAM, Component, Footprint, footprint
from server.planning.footprint.blocks import blocks
from server.planning.footprint.vllm import BATCHED_TOKENS, stage_layers
from server.planning.weights import LayerWeights, WeightMap, from_catalogue
from server.settings import Settings
from server.units import GIB, MIB

EIGHT = tuple(f"GPU-{number}" for number in range(8))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Model]:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models


def deployment(**changes: object) -> Deployment:
    base = Deployment("m", "m:b", "vllm", ("GPU-0",), 32_768, 4)
    return replace(base, **changes)  # type: ignore[arg-type]


def on(found: Footprint, component: Component) -> list[int]:
    return [found.by_component(gpu).get(component, 0) for gpu in found.by_device() if gpu != RAM]


def test_it_is_launched_with_what_is_planned() -> None:
    assert engine.BATCHED_TOKENS == BATCHED_TOKENS


@pytest.mark.parametrize(
    ("layers", "stages", "counts"),
    [(64, 1, [64]), (64, 2, [32, 32]), (60, 8, [7, 7, 7, 8, 8, 8, 8, 7]), (10, 4, [2, 3, 3, 2])],
)
def test_stages_are_vllms(layers: int, stages: int, counts: list[int]) -> None:
    found = stage_layers(layers, stages)
    assert [len(stage) for stage in found] == counts
    assert [number for stage in found for number in stage] == list(range(layers))


def test_tensor_parallel_ranks_share_all(models: Mapping[str, Model]) -> None:
    model = models["qwen3.5-397b-a17b"]
    build = model.build("fp8")
    assert build is not None
    weights = from_catalogue(model, build)
    found = footprint(deployment(gpus=EIGHT, tensor_parallel=8), model.architecture, weights)
    loaded = weights.total - weights.mtp
    assert on(found, "weights") == [loaded // 8] * 8
    assert len(set(on(found, "kv_cache"))) == 1
    text = footprint(
        deployment(gpus=EIGHT, tensor_parallel=8, vision=False), model.architecture, weights
    )
    assert on(text, "weights") == [(loaded - weights.vision) // 8] * 8
    assert text.of("vision") == 0


def test_pipeline_stages_hold_what_is_theirs(models: Mapping[str, Model]) -> None:
    a = replace(models["qwen3.5-27b"].architecture, vision=None)
    weights = WeightMap(1000, 2000, (LayerWeights(10),) * 64, mtp=77)
    wanted = deployment(gpus=EIGHT[:2], pipeline_parallel=2)
    assert on(footprint(wanted, a, weights), "weights") == [1000 + 320, 2000 + 320]
    drafting = replace(wanted, draft_tokens=1)
    assert on(footprint(drafting, a, weights), "weights") == [1320, 2320 + 77]
    tied = replace(a, tied=True)
    assert on(footprint(wanted, tied, weights), "weights") == [1320, 3320]


@pytest.mark.parametrize("slots", [1, 4, 32])
@pytest.mark.parametrize("size", ["0.8b", "9b", "27b", "35b-a3b", "397b-a17b"])
def test_the_pool_is_cache_and_state(models: Mapping[str, Model], size: str, slots: int) -> None:
    a = models[f"qwen3.5-{size}"].architecture
    wanted = deployment(slots=slots)
    found = footprint(wanted, a, WeightMap(0, 0, (LayerWeights(0),) * a.layers))
    pool = blocks(wanted, a).pool(slots)
    assert found.of("kv_cache") + found.of("state") == pool
    # At least what the tokens themselves need, and the padding of a block for each group.
    least = a.full_layers * 2 * a.kv_heads * a.head_dim * 2 * 32_768 * slots
    assert least <= found.of("kv_cache") < 1.2 * least + 2 * blocks(wanted, a).bytes * slots


def test_a_pool_of_given_size(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-9b"].architecture
    weights = WeightMap(0, 0, (LayerWeights(0),) * a.layers)
    found = footprint(deployment(kv_cache_bytes=20 * GIB), a, weights)
    assert found.of("kv_cache") + found.of("state") == 20 * GIB


def test_what_only_gpus_take(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-9b"].architecture
    weights = WeightMap(0, 0, (LayerWeights(0),) * a.layers)
    one = footprint(deployment(), a, weights)
    assert on(one, "context") == [457 * MIB]
    assert 0.2 * GIB < one.of("graphs") < 3 * GIB
    assert footprint(deployment(graphs=False), a, weights).of("graphs") == 0
    two = footprint(deployment(gpus=EIGHT[:2], tensor_parallel=2), a, weights)
    assert on(two, "context") == [(457 + 399) * MIB] * 2
    cpu = footprint(deployment(gpus=()), a, weights)
    assert set(cpu.by_device()) == {RAM}
    assert cpu.of("context") == cpu.of("graphs") == 0


def test_the_processes_of_a_start_on_a_cpu(models: Mapping[str, Model]) -> None:
    """vLLM 0.32 of the demo: an API server, the engine's core and one worker held 1,439 MiB."""
    a = models["demo"].architecture
    found = footprint(deployment(gpus=()), a, WeightMap(0, 0, (LayerWeights(0),) * a.layers))
    assert found.of("process") / MIB == pytest.approx(1439, rel=0.03)
    ranks = [deployment(gpus=EIGHT[:n], tensor_parallel=n) for n in (1, 2)]
    one, two = (footprint(r, a, WeightMap(0, 0, (LayerWeights(0),) * a.layers)) for r in ranks)
    assert two.of("process") - one.of("process") > 0.4 * GIB


def test_scratch_space_grows_with_the_model_and_shrinks_with_ranks(
    models: Mapping[str, Model],
) -> None:
    sizes = []
    for name in ("0.8b", "2b", "4b", "9b", "27b"):
        a = models[f"qwen3.5-{name}"].architecture
        weights = WeightMap(0, 0, (LayerWeights(0),) * a.layers)
        alone = footprint(deployment(), a, weights).of("compute")
        split = footprint(deployment(gpus=EIGHT[:2], tensor_parallel=2), a, weights)
        assert max(on(split, "compute")) < alone
        sizes.append(alone)
    assert sizes == sorted(sizes)
    assert 0.1 * GIB < sizes[0] < sizes[-1] < 4 * GIB
