"""Speeds that the roofline predicts: against published and own measurements, and what must hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue import Build, Model
from server.hardware.imagined import imagined
from server.planning.deployment import Deployment
from server.planning.measured import Measured, Measurement
from server.planning.parameters import drafting_share
from server.planning.rig import RAM_ID, Rig, rig
from server.planning.speed import Speed, roofline, speed
from server.planning.weights import WeightMap, from_catalogue
from server.planning.worth import seconds_per_token
from tests.planning.machines import KNOWN

GB = 1_000_000_000


def model_of(name: str, size: int | None = None) -> tuple[Model, Build, WeightMap]:
    """A build with its weights; `size` in bytes where the catalogue does not know it."""
    model, build = KNOWN.resolve(name)
    assert build is not None
    build = build if size is None else replace(build, bytes=size)
    weights = from_catalogue(model, build)
    assert weights is not None
    return model, build, weights


def predicted(
    hardware: str | Rig,
    name: str,
    size: int | None = None,
    context: int = 4096,
    slots: int = 1,
    **more: Any,
) -> Speed:
    model, build, weights = model_of(name, size)
    found = rig(imagined(hardware)) if isinstance(hardware, str) else hardware
    values: dict[str, Any] = {"gpus": tuple(gpu.id for gpu in found.gpus), **more}
    deployment = Deployment(
        model.id, build.name, build.engine, context=context, slots=slots, **values
    )
    return roofline(deployment, model.architecture, weights, found)


def with_ram(hardware: str, bandwidth: float) -> Rig:
    found = rig(imagined(hardware))
    return replace(found, ram=replace(found.ram, bandwidth=bandwidth))


DESKTOP = with_ram("5080+128G+16c", 77e9)
"""An RTX 5080 beside two channels of DDR5-4800."""


# ---- Against measurements: the sources are in planning/efficiency.py ----


@pytest.mark.parametrize(
    ("hardware", "build", "size", "more", "measured", "within"),
    [
        ("4090+64G", "qwen3.5-27b:q4_k_m", None, {}, 41.5, 0.07),
        ("3090+64G", "qwen3.5-27b:q4_k_m", None, {}, 38, 0.05),
        ("5090+64G", "qwen3.5-27b:ud-q4_k_xl", None, {}, 76.3, 0.25),
        ("5090+64G", "qwen3.5-9b:q8_0", None, {}, 130, 0.1),
        ("3090+64G", "qwen3.5-35b-a3b:q4_k_m", None, {}, 110, 0.1),
        (DESKTOP, "qwen3.5-35b-a3b:q4_k_m", 20 * GB, {"cpu_experts": 40}, 51, 0.1),
        (DESKTOP, "qwen3.5-35b-a3b:q4_k_m", 20 * GB, {"cpu_experts": 24}, 69.6, 0.1),
        (DESKTOP, "qwen3.5-35b-a3b:q8_0", None, {"cpu_experts": 40}, 35.7, 0.1),
        ("2x3090+64G", "qwen3.5-35b-a3b:gptq-int4", 20 * GB, {"tensor_parallel": 2}, 156, 0.15),
        ("cpu+16G+2c", "qwen3.5-0.8b:q4_k_m", None, {}, 28.4, 0.05),
    ],
)
def test_one_answer(
    hardware: str | Rig,
    build: str,
    size: int | None,
    more: dict[str, Any],
    measured: float,
    within: float,
) -> None:
    assert predicted(hardware, build, size, **more).decode == pytest.approx(measured, rel=within)


@pytest.mark.parametrize(
    ("hardware", "build", "slots", "measured", "within"),
    [
        ("cpu+16G+2c", "qwen3.5-0.8b:q4_k_m", 4, 38.7, 0.08),
        ("cpu+16G+2c", "qwen3.5-0.8b:q4_k_m", 8, 36.2, 0.15),
        ("5090+64G", "qwen3.5-9b:q4_k_m", 32, 536, 0.1),
        ("5090+64G", "qwen3.5-9b:q8_0", 32, 530, 0.1),
    ],
)
def test_answers_together(
    hardware: str, build: str, slots: int, measured: float, within: float
) -> None:
    found = predicted(hardware, build, slots=slots)
    assert found.decode_all == pytest.approx(measured, rel=within)


@pytest.mark.parametrize(
    ("hardware", "build", "context", "measured", "within"),
    [
        ("4090+64G", "qwen3.5-27b:q4_k_m", 16_384, 2200, 0.1),
        ("3090+64G", "qwen3.5-27b:q4_k_m", 20_480, 949, 0.1),
    ],
)
def test_a_prompt(hardware: str, build: str, context: int, measured: float, within: float) -> None:
    found = predicted(hardware, build, context=context)
    assert found.prefill == pytest.approx(measured, rel=within)


def test_a_prompt_on_the_processor_that_this_was_measured_on() -> None:
    machine = imagined("cpu+16G+2c")
    genoa = replace(machine.cpu, instructions=("avx2", "avx512_vnni"))
    found = predicted(rig(replace(machine, cpu=genoa)), "qwen3.5-0.8b:q4_k_m", context=1024)
    assert found.prefill == pytest.approx(194, rel=0.1)


# ---- What binds ----


@pytest.mark.parametrize(
    ("hardware", "build", "more", "bound"),
    [
        ("4090+64G", "qwen3.5-27b:q4_k_m", {}, "bandwidth"),
        ("cpu+64G", "qwen3.5-9b:q4_k_m", {"gpus": ()}, "bandwidth"),
        ("B200+256G", "qwen3.5-0.8b:q4_k_m", {}, "compute"),
        ("8x4090+256G", "qwen3.5-2b:bf16", {"tensor_parallel": 8}, "interconnect"),
        ("8xH100+256G", "qwen3.5-27b:bf16", {"tensor_parallel": 8}, "compute"),
    ],
)
def test_what_binds(hardware: str, build: str, more: dict[str, Any], bound: str) -> None:
    assert predicted(hardware, build, **more).binds == bound


# ---- Splits ----


def test_two_gpus_in_a_row_are_no_faster_than_one_and_tensor_parallel_is() -> None:
    build = "qwen3.5-27b:bf16"
    one = predicted("H100+512G", build)
    row = predicted("2xH100+512G", build, pipeline_parallel=2)
    both = predicted("2xH100+512G", build, tensor_parallel=2)
    assert row.decode == pytest.approx(one.decode, rel=0.02)
    assert 1.4 * one.decode < both.decode < 2 * one.decode
    assert both.prefill > 1.5 * one.prefill


def test_a_pipeline_works_on_several_requests_at_once() -> None:
    build = "qwen3.5-27b:bf16"
    for slots, gain in ((8, 1.0), (128, 1.3)):  # while the weights bind there is nothing to gain
        row = predicted("2xH100+512G", build, context=32_768, pipeline_parallel=2, slots=slots)
        one = predicted("H100+512G", build, context=32_768, slots=slots)
        assert row.decode_all > 0.98 * gain * one.decode_all


def test_nvlink_is_better_than_pcie() -> None:
    build = "qwen3.5-27b:bf16"
    linked = predicted("2x3090+nvlink+128G", build, tensor_parallel=2)
    apart = predicted("2x3090+128G", build, tensor_parallel=2)
    assert linked.decode > apart.decode
    assert linked.prefill > 1.05 * apart.prefill


def test_several_machines_are_as_fast_as_the_network_between_them() -> None:
    build = "qwen3.5-397b-a17b:bf16"
    near = predicted("8xB200+4T", build, tensor_parallel=8)
    far = predicted("4xB200+4T", build, tensor_parallel=8, nodes=2)
    assert far.decode < near.decode
    assert far.prefill < near.prefill / 2


@pytest.mark.parametrize("layers", range(0, 33, 8))
def test_the_more_layers_on_the_gpu_the_faster(layers: int) -> None:
    less, more = (
        predicted("4060+64G", "qwen3.5-9b:q8_0", gpu_layers=count) for count in (layers, layers + 1)
    )
    assert less.decode < more.decode


@pytest.mark.parametrize("layers", range(0, 40, 8))
def test_the_more_experts_in_ram_the_slower(layers: int) -> None:
    build = "qwen3.5-35b-a3b:q4_k_m"
    more, less = (predicted("3090+64G", build, cpu_experts=count) for count in (layers, layers + 1))
    assert less.decode < more.decode
    assert less.prefill < more.prefill


def test_the_slower_of_two_cards_holds_the_other_back() -> None:
    mixed = predicted("4090+3060-12G+64G", "qwen3.5-9b:bf16", tensor_parallel=2)
    alike = predicted("2x4090+64G", "qwen3.5-9b:bf16", tensor_parallel=2)
    assert mixed.decode < alike.decode / 1.8


# ---- Options of the engines ----


def test_drafts_pay_on_a_gpu() -> None:
    plain = predicted("H100+512G", "qwen3.5-27b:bf16")
    drafted = predicted("H100+512G", "qwen3.5-27b:bf16", draft_tokens=1)
    assert 1.4 * plain.decode < drafted.decode < 1.75 * plain.decode


def test_graphs_matter_for_small_models() -> None:
    eager = predicted("H100+512G", "qwen3.5-0.8b:bf16", graphs=False)
    assert eager.decode < predicted("H100+512G", "qwen3.5-0.8b:bf16").decode / 2


def test_a_smaller_kv_cache_is_read_faster() -> None:
    full, small = (
        predicted("4090+64G", "qwen3.5-9b:q4_k_m", context=262_144, kv_type=kv)
        for kv in ("f16", "q8_0")
    )
    assert small.decode > 1.1 * full.decode


def test_a_mixture_reads_its_active_experts_only_until_many_requests_touch_all() -> None:
    """397B in 8 bits reads 17 GB a token, and with 64 requests most of its 400 GB."""
    build, size = "qwen3.5-397b-a17b:fp8", 400 * GB
    one = predicted("8xH200+2T", build, size, tensor_parallel=8)
    many = predicted("8xH200+2T", build, size, tensor_parallel=8, slots=64)
    assert one.decode > 100
    assert 4 * one.decode < many.decode_all < 32 * one.decode


@given(
    st.sampled_from(["qwen3.5-0.8b:q4_k_m", "qwen3.5-9b:q4_k_m", "qwen3.5-35b-a3b:q4_k_m"]),
    st.sampled_from(["cpu+64G", "3060-12G+64G", "4090+64G", "unified+128G", "2x3090+64G"]),
    st.integers(1, 64),
    st.integers(256, 262_144),
)
def test_what_always_holds(build: str, hardware: str, slots: int, context: int) -> None:
    found = predicted(hardware, build, slots=slots, context=context)
    alone = predicted(hardware, build, slots=1, context=context)
    assert min(found.prefill, found.decode, found.decode_all) > 0
    assert found.decode == alone.decode == pytest.approx(alone.decode_all)
    assert found.decode_all >= 0.999 * found.decode, "more requests give no fewer tokens together"
    assert found.decode_all <= 1.001 * slots * found.decode
    longer = predicted(hardware, build, slots=slots, context=context + 1024)
    assert longer.decode <= found.decode
    quick = rig(imagined(hardware))
    quick = replace(
        quick,
        ram=replace(quick.ram, bandwidth=2 * quick.ram.bandwidth),
        gpus=tuple(replace(gpu, bandwidth=2 * gpu.bandwidth) for gpu in quick.gpus),
    )
    assert predicted(quick, build, slots=slots, context=context).decode >= found.decode


# ---- Corrections ----


def corrected(measurements: tuple[Measurement, ...], hardware: str = "4090+64G") -> Speed:
    model, build, weights = model_of("qwen3.5-9b:q4_k_m")
    found = rig(imagined(hardware))
    gpus = tuple(gpu.id for gpu in found.gpus)
    deployment = Deployment(model.id, build.name, "llama-server", gpus, 4096, 2)
    return speed(deployment, model.architecture, weights, found, Measured(measurements))


CARD = ("NVIDIA GeForce RTX 4090",)
NINE = "qwen3.5-9b:q4_k_m"


@pytest.mark.parametrize(
    ("measurements", "prefill", "decode", "decode_all"),
    [
        ((), 1, 1, 1),
        ((Measurement("llama-server", NINE, CARD, 0.5, 0.8, 0.6),), 0.5, 0.8, 0.6),
        ((Measurement("llama-server", NINE, CARD, decode=0.9),), 1, 0.9, 0.9),
        ((Measurement("llama-server", NINE, CARD * 2, decode=0.9),), 1, 1, 1),
    ],
)
def test_measurements_correct_it(
    measurements: tuple[Measurement, ...], prefill: float, decode: float, decode_all: float
) -> None:
    plain, found = corrected(()), corrected(measurements)
    assert found.prefill == pytest.approx(plain.prefill * prefill)
    assert found.decode == pytest.approx(plain.decode * decode)
    assert found.decode_all == pytest.approx(plain.decode_all * decode_all)
    assert found.binds == plain.binds


def test_without_gpus_the_processor_is_what_was_measured() -> None:
    model, build, weights = model_of(NINE)
    found = rig(imagined("cpu+64G"))
    deployment = Deployment(model.id, build.name, "llama-server", (), 4096, 1)
    known = Measurement("llama-server", NINE, (found.device(RAM_ID).product,), decode=0.7)
    plain = speed(deployment, model.architecture, weights, found)
    measured = speed(deployment, model.architecture, weights, found, Measured((known,)))
    assert measured.decode == pytest.approx(0.7 * plain.decode)


def test_a_gpu_that_is_not_there() -> None:
    model, build, weights = model_of(NINE)
    deployment = Deployment(model.id, build.name, "llama-server", ("GPU-7",), 4096, 1)
    with pytest.raises(KeyError):
        speed(deployment, model.architecture, weights, rig(imagined("4090+64G")))


MIXTURES = [
    build
    for model in KNOWN.models.values()
    for build in model.builds
    if model.architecture.experts and build.engine == "vllm"
]


@pytest.mark.parametrize("build", MIXTURES, ids=lambda build: build.name)
def test_whole_experts_never_make_answers_sooner(build: Build) -> None:
    """Why the planner does not offer expert parallelism (planning/shape.py)."""
    model = KNOWN.models[build.model]
    weights = from_catalogue(model, build)
    for hardware in ("8xH100-80G+2T", "8xB200+4T", "2x4090+256G"):
        at = rig(imagined(hardware))
        for ranks, slots in product((2, 4, 8), (1, 4, 32)):
            gpus = tuple(gpu.id for gpu in at.gpus[:ranks])
            if len(gpus) == ranks:
                cut = Deployment(
                    model.id, build.name, "vllm", gpus, 16_384, slots, tensor_parallel=ranks
                )
                whole = replace(cut, expert_parallel=True)
                sooner, later = (
                    seconds_per_token(
                        speed(d, model.architecture, weights, at),
                        131_072, slots, vision=True, retention=1.0,
                    )
                    for d in (cut, whole)
                )  # fmt: skip
                assert sooner < later


def test_a_rank_with_many_chosen_experts_is_waited_for() -> None:
    one = predicted("8xH100-80G+2T", "qwen3.5-397b-a17b:fp8", tensor_parallel=8)
    other = predicted(
        "8xH100-80G+2T", "qwen3.5-397b-a17b:fp8", tensor_parallel=8, expert_parallel=True
    )
    assert 0.5 * one.decode < other.decode < 0.95 * one.decode
    assert one.prefill < other.prefill < 1.2 * one.prefill


def test_a_draft_of_a_mixture_reads_only_the_experts_it_chooses() -> None:
    model, build = KNOWN.resolve("qwen3.5-397b-a17b:fp8")
    assert build is not None
    share = drafting_share(model.architecture)
    assert 0.02 < share < 0.06  # ten of 512, the attention and the shared one
    assert drafting_share(KNOWN.models["qwen3.5-27b"].architecture) == 1.0
    alone = predicted("8xH100-80G+2T", build.name, tensor_parallel=8)
    ahead = predicted("8xH100-80G+2T", build.name, tensor_parallel=8, draft_tokens=1)
    assert 1.3 < ahead.decode / alone.decode < 1.75
