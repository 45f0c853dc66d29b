"""Bytes of tensors by group: to the byte from headers, near it from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from server.catalogue import Model, load
from server.planning.parameters import layer_parameters, mixer_parameters, parameters
from server.planning.weights import from_catalogue, from_gguf_headers, from_safetensors_headers
from server.settings import Settings
from server.store.gguf import read_header
from server.store.safetensors import read_safetensors_header
from server.units import GIB

if TYPE_CHECKING:
    from tests.planning.conftest import HollowGguf

SIZES = ("0.8b", "2b", "4b", "9b", "27b", "35b-a3b", "122b-a10b", "397b-a17b")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Model]:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models


def test_every_build_has_weights_that_add_up(models: Mapping[str, Model]) -> None:
    builds = 0
    for model in models.values():
        for build in model.builds:
            builds += 1
            weights = from_catalogue(model, build)
            assert not weights.exact
            assert len(weights.layers) == model.architecture.layers
            assert min(layer.dense for layer in weights.layers) > 0, build.name
            assert min(layer.experts for layer in weights.layers) >= 0, build.name
            assert bool(weights.vision) == bool(
                build.mmproj if build.format == "gguf" else model.architecture.vision
            )
            if build.weights_bytes is not None:
                text = weights.total - (weights.vision if build.format == "gguf" else 0)
                # The files' headers are not loaded: a vocabulary of 11 MB in a GGUF file.
                assert -0.035 < text / build.weights_bytes - 1 < 0.001, build.name
    assert builds > 100


@pytest.mark.parametrize("size", SIZES)
def test_unquantized_checkpoints_are_exact(models: Mapping[str, Model], size: str) -> None:
    model = models[f"qwen3.5-{size}"]
    build = model.build("bf16")
    assert build is not None
    weights = from_catalogue(model, build)
    assert weights.total == pytest.approx(parameters(model.architecture).checkpoint_bytes, rel=1e-3)


def test_sizes_that_are_not_known_are_near_those_reported(models: Mapping[str, Model]) -> None:
    """GiB that others report for files whose exact size the catalogue does not have."""
    reported = {
        ("122b-a10b", "ud-q4_k_xl"): 71.74,
        ("122b-a10b", "q4_k_m"): 71.28,
        ("397b-a17b", "ud-q4_k_xl"): 228.4,
    }
    for (size, name), gib in reported.items():
        model = models[f"qwen3.5-{size}"]
        build = model.build(name)
        assert build is not None
        assert from_catalogue(model, build).total / GIB == pytest.approx(gib, rel=0.03)


def test_a_checkpoint_of_others_is_not_taken_to_draft(models: Mapping[str, Model]) -> None:
    model = models["qwen3.5-27b"]
    own, others = model.build("gptq-int4"), model.build("awq")
    assert own is not None
    assert others is not None
    assert from_catalogue(model, own).mtp == 2 * parameters(model.architecture).mtp
    assert from_catalogue(model, others).mtp == 0


def test_qwens_own_four_bits_leave_attention_in_sixteen(models: Mapping[str, Model]) -> None:
    model = models["qwen3.5-27b"]
    own, others = model.build("gptq-int4"), model.build("awq")
    assert own is not None
    assert others is not None
    a = model.architecture
    mixers = sum(mixer_parameters(a, number) for number in range(a.layers))
    layers = [sum(sum(part) for part in [layer_parameters(a, n)]) for n in range(a.layers)]
    told = sum(layer.dense for layer in from_catalogue(model, own).layers)
    assert told == pytest.approx(2 * mixers + (sum(layers) - mixers) * 4.25 / 8, rel=1e-6)
    assert told > 1.5 * sum(layer.dense for layer in from_catalogue(model, others).layers)


def test_experts_and_the_rest(models: Mapping[str, Model]) -> None:
    """122B UD-Q4_K_XL: 65.54 GiB of experts, 6.2 of all else (reported)."""
    model = models["qwen3.5-122b-a10b"]
    build = model.build("ud-q4_k_xl")
    assert build is not None
    weights = from_catalogue(model, build)
    experts = sum(layer.experts for layer in weights.layers)
    assert experts / GIB == pytest.approx(65.54, rel=0.03)
    rest = weights.total - experts - weights.vision
    assert rest / GIB == pytest.approx(6.2, rel=0.15)


@pytest.mark.parametrize("size", ["0.8b", "9b", "35b-a3b"])
def test_a_gguf_header_tells_every_byte(
    models: Mapping[str, Model], hollow_gguf: HollowGguf, size: str
) -> None:
    a = replace(models[f"qwen3.5-{size}"].architecture, layers=4, vocab=4096)
    header = read_header(hollow_gguf.write(a))
    weights = from_gguf_headers([header], a.layers)
    assert weights.exact
    assert weights.total == header.file_bytes - header.data_offset
    assert weights.embeddings == 4096 * a.hidden * 144 // 256  # Q4_K
    assert (weights.output > 4 * a.hidden) == (not a.tied)
    assert bool(weights.layers[0].experts) == bool(a.experts)
    # Three matrices of the same type.
    assert {3 * size for size in weights.expert_sizes} == {
        layer.experts for layer in weights.layers if a.experts
    }
    # The prediction block has what a layer of full attention has, and joins two inputs.
    last = weights.layers[3]
    assert weights.mtp > last.dense + last.experts
    assert from_gguf_headers([header], a.layers, header).vision == weights.total


def test_a_checkpoint_tells_every_byte(models: Mapping[str, Model]) -> None:
    model = models["demo"]
    build = next(build for build in model.builds if build.format == "safetensors")
    assert build.path is not None
    files = sorted(build.path.rglob("*.safetensors"))
    headers = [read_safetensors_header(file) for file in files]
    weights = from_safetensors_headers(headers, model.architecture.layers)
    assert weights.exact
    sizes = [tensor.bytes for header in headers for tensor in header.tensors]
    assert sum(sizes) <= weights.total <= sum(sizes) + 32 * len(sizes)
    assert weights.total == pytest.approx(parameters(model.architecture).checkpoint_bytes, rel=0.02)
    assert weights.mtp == weights.vision == 0
