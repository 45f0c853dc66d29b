from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.hardware.imagined import imagined
from server.planning.alike import alike, canonical
from server.planning.rig import rig
from server.planning.shape import Shape, divides, shapes
from server.planning.weights import from_catalogue
from server.units import GIB
from tests.planning.machines import KNOWN


def shaped(hardware: str, build: str, *, cuda: bool = True) -> list[Shape]:
    model, found = KNOWN.resolve(build)
    assert found is not None
    at = rig(imagined(hardware))
    weights = from_catalogue(model, found).total
    return list(shapes(model.architecture, found, weights, at, alike(at), cuda=cuda))


def test_without_a_gpu_there_is_the_cpu() -> None:
    assert shaped("cpu+64G", "qwen3.5-9b:q4_k_m") == [Shape("llama-server")]
    assert shaped("cpu+64G", "qwen3.5-9b:bf16") == [Shape("vllm")]
    assert shaped("1x4090+64G", "qwen3.5-9b:q4_k_m", cuda=False) == [Shape("llama-server")]


def test_a_small_model_is_not_split() -> None:
    found = shaped("4x4090+64G", "qwen3.5-4b:q4_k_m")
    assert {len(shape.gpus) for shape in found} == {0, 1}
    assert all(shape.gpu_layers is None for shape in found)


def test_a_large_dense_model_is_split_over_gpus_or_between_a_gpu_and_ram() -> None:
    model, _ = KNOWN.resolve("qwen3.5-27b")
    found = shaped("2x4090+64G", "qwen3.5-27b:q8_0")
    halves = [s for s in found if len(s.gpus) == 2 and s.gpu_layers is None]
    assert [sum(s.layer_split) for s in halves] == [model.architecture.layers + 1]
    assert abs(halves[0].layer_split[0] - halves[0].layer_split[1]) <= 6  # the output counts
    assert any(s.gpu_layers for s in found if len(s.gpus) == 1)


def test_a_mixture_of_experts_leaves_experts_in_ram() -> None:
    found = shaped("1x4090+128G", "qwen3.5-122b-a10b:ud-q4_k_xl-mtp")
    counts = [s.cpu_experts for s in found if s.gpus]
    assert counts == [0, 6, 12, 18, 24, 30, 36, 42, 48]


@pytest.mark.parametrize(
    ("hardware", "build", "splits"),
    [
        # (GPUs, tensor parallel, pipeline parallel)
        ("8xH100-80G+2T", "qwen3.5-397b-a17b:fp8", {(1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 1)}),
        # Rows of 512 cannot be cut in eight: the blocks that share a scale are 128 wide.
        ("8xH100-80G+2T", "qwen3.5-35b-a3b:fp8", {(1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 4, 2)}),
        ("2x4090+256G", "qwen3.5-9b:bf16", {(1, 1, 1), (2, 2, 1), (2, 1, 2)}),
        # Where pairs are bridged, two ranks are one, and four go over the bus as well.
        (
            "4x3090+nvlink+256G",
            "qwen3.5-9b:bf16",
            {(1, 1, 1), (2, 2, 1), (4, 4, 1), (4, 1, 4)},
        ),
        ("T4+16G", "qwen3.5-9b:bf16", set()),
    ],
)
def test_vllm_cuts_where_the_model_can_be_cut(
    hardware: str, build: str, splits: set[tuple[int, int, int]]
) -> None:
    found = {(len(s.gpus), s.tensor_parallel, s.pipeline_parallel) for s in shaped(hardware, build)}
    assert found >= splits
    assert {s for s in found if s[0] in (1, 2, 4, 8)} == splits


def test_blocks_of_a_quantization_are_not_cut() -> None:
    model, fp8 = KNOWN.resolve("qwen3.5-35b-a3b:fp8")
    _, whole = KNOWN.resolve("qwen3.5-35b-a3b:bf16")
    assert fp8 is not None
    assert whole is not None
    assert divides(model.architecture, whole, 8)
    assert not divides(model.architecture, fp8, 8)


def test_mig_instances_stay_alone() -> None:
    from tests.planning.machines import HARDWARE

    at = rig(HARDWARE["H100 in seven"])
    model, build = KNOWN.resolve("qwen3.5-27b:q8_0")
    assert build is not None
    found = shapes(model.architecture, build, 28 * GIB, at, alike(at), cuda=True)
    assert {len(shape.gpus) for shape in found} == {0, 1}


@given(
    hardware=st.sampled_from(["2x4090+64G", "4x3090+nvlink+256G", "4090+3060-12G+64G"]),
    build=st.sampled_from(["qwen3.5-27b:q8_0", "qwen3.5-122b-a10b:ud-q4_k_xl-mtp"]),
)
def test_every_shape_is_a_deployment_of_all_layers(hardware: str, build: str) -> None:
    model, found = KNOWN.resolve(build)
    assert found is not None
    at = rig(imagined(hardware))
    for shape in shaped(hardware, build):
        deployment = shape.deployment(found, 4096, 1)
        assert canonical(deployment, alike(at)) == deployment
        if shape.layer_split:
            layers = model.architecture.layers + 1
            assert sum(shape.layer_split) == (shape.gpu_layers or layers)
            assert min(shape.layer_split) >= 1


def test_gpus_of_a_kind_are_one_group_and_bridged_pairs_are_pairs() -> None:
    assert [len(group) for group in alike(rig(imagined("8xH100-80G+2T"))).by_link] == [8]
    assert [len(group) for group in alike(rig(imagined("4090+3060-12G+64G"))).by_kind] == [1, 1]
