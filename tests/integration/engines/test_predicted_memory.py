"""Predicted memory against what a real llama-server holds, and what a start teaches the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from server import demo
from server.catalogue import Architecture, Model, Vision, load
from server.demo import GGUF
from server.engines import vllm
from server.engines.observations import Observations
from server.engines.vllm_binary import Interpreter
from server.planning.accuracy import Row, rows
from server.planning.calibration import NONE, Corrections, Observation, learn, observe
from server.planning.deployment import Deployment, KvType
from server.planning.footprint import RAM, footprint
from server.planning.footprint.blocks import blocks
from server.planning.weights import WeightMap, from_gguf_headers, from_safetensors_headers
from server.settings import Settings
from server.store.gguf import read_header
from server.store.safetensors import read_safetensors_header
from server.units import MIB
from tests.integration import vision
from tests.integration.supervised import Make

pytestmark = pytest.mark.integration

VERSION = "of the test"
ROUNDING = 0.02 * MIB
"""The log has two decimals of a MiB."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models["demo"]


def demo_with(context: int, slots: int, kv_type: KvType = "f16") -> Deployment:
    return Deployment("demo", "demo:f16", "llama-server", (), context, slots, kv_type=kv_type)


async def start(
    make: Make,
    wanted: Deployment,
    architecture: Architecture,
    weights: WeightMap,
    corrections: Corrections = NONE,
    patience: float = 60,
    **launch: object,
) -> tuple[Observation, ...]:
    """Start it as deployed, and compare what it takes with what was predicted."""
    engine = make(context=wanted.context, slots=wanted.slots, kv_type=wanted.kv_type, **launch)
    await engine.start()
    await engine.wait_ready(patience)
    actual = await engine.taken()
    await engine.stop(0)
    assert actual is not None
    formula = footprint(wanted, architecture, weights)
    plan = footprint(wanted, architecture, weights, corrections)
    return observe("2026-11-21T08:00:00Z", wanted, VERSION, {}, formula, plan, actual)


def by_component(observations: tuple[Observation, ...]) -> Mapping[str, Row]:
    return {row.component or "total": row for row in rows(observations)}


async def test_one_start_makes_the_next_predictions_true(
    make: Make, model: Model, tmp_path: Path
) -> None:
    weights = from_gguf_headers([read_header(GGUF)], model.architecture.layers)
    kept = Observations(tmp_path)
    kept.add(await start(make, demo_with(4096, 2), model.architecture, weights))
    first = by_component(kept.read())
    assert set(first) == {
        "weights", "kv_cache", "state", "compute", "output", "process", "total",
    }  # fmt: skip
    corrections = learn(kept.read(), versions={"llama-server": VERSION}, kinds={})
    assert corrections.factor("llama-server", RAM, "kv_cache") == 1
    found = [first]
    for wanted in (demo_with(1024, 1), demo_with(32_768, 2, "q8_0"), demo_with(8192, 8)):
        seen = by_component(await start(make, wanted, model.architecture, weights, corrections))
        assert abs(seen["total"].error or 0) < 0.03, wanted
        found.append(seen)
    for seen in found:
        assert abs(seen["total"].first_error or 0) < 0.08
        for component in ("weights", "kv_cache", "state", "compute", "output"):
            row = seen[component]
            assert row.predicted == pytest.approx(row.actual, abs=ROUNDING), component


async def test_embeddings_are_foretold(make: Make, model: Model) -> None:
    weights = from_gguf_headers([read_header(GGUF)], model.architecture.layers)
    wanted = replace(demo_with(4096, 2), embeddings=True)
    seen = by_component(await start(make, wanted, model.architecture, weights, embeddings=True))
    assert seen["compute"].predicted == pytest.approx(seen["compute"].actual, abs=ROUNDING)
    assert abs(seen["total"].first_error or 1) < 0.08


async def test_an_image_encoder_is_foretold(make: Make, model: Model, tmp_path: Path) -> None:
    vision.write_model(tmp_path)
    text, encoder = tmp_path / "seeing.gguf", tmp_path / "mmproj.gguf"
    weights = from_gguf_headers(
        [read_header(text)], model.architecture.layers, read_header(encoder)
    )
    tower = Vision(depth=2, hidden=64, heads=4, ffn=128)
    architecture = replace(model.architecture, vision=tower)
    seen = by_component(
        await start(
            make, demo_with(4096, 1), architecture, weights, model_file=text, mmproj=encoder
        )
    )
    assert abs(seen["vision"].first_error or 1) < 0.08
    assert seen["compute"].predicted == pytest.approx(seen["compute"].actual, abs=ROUNDING)


async def test_a_vllm_is_foretold_too(
    make: Make, model: Model, require_vllm: Interpreter, tmp_path: Path
) -> None:
    wanted = Deployment("demo", "demo:bf16", "vllm", (), 2048, 4)
    folder = demo.SAFETENSORS
    headers = [read_safetensors_header(file) for file in folder.glob("*.safetensors")]
    weights = from_safetensors_headers(headers, model.architecture.layers)
    pool = blocks(wanted, model.architecture).pool(wanted.slots)
    launch = vllm.Launch(
        python=require_vllm.path,
        folder=folder,
        alias="demo",
        socket=tmp_path / "v.sock",
        context=wanted.context,
        slots=wanted.slots,
        kv_cache_bytes=pool,
        gpus=(),
        threads=1,
    )
    seen = by_component(
        await start(make, wanted, model.architecture, weights, launch=launch, patience=240)
    )
    # Its log has two decimals of a GiB; what it was given it takes, to the byte.
    assert seen["kv_cache"].actual + seen["state"].actual == pool
    assert seen["kv_cache"].predicted == seen["kv_cache"].actual
    assert abs(seen["total"].first_error or 1) < 0.08
