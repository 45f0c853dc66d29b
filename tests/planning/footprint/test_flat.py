"""The memory formulas, against figures of others and of llama.cpp's logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from server.catalogue import Model, load
from server.engines.llama_server import Launch
from server.planning.footprint import (
    CONTEXT_CHECKPOINTS,
    PROMPT_CACHE,
    image_compute,
    kv_bytes_per_token,
    llama_server,
    state_bytes_per_sequence,
)
from server.planning.footprint.flat import Footprint
from server.settings import Settings
from server.units import GIB, MIB

FIGURES = {
    "0.8b": (12_288, 3.0, 19.3),
    "2b": (12_288, 3.0, 19.3),
    "4b": (32_768, 8.0, 50.2),
    "9b": (32_768, 8.0, 50.2),
    "27b": (65_536, 16.0, 149.6),
    "35b-a3b": (20_480, 5.0, 62.8),
    "122b-a10b": (24_576, 6.0, 149.1),
    "397b-a17b": (30_720, 7.5, 186.3),
}
"""KV bytes per token, GiB of KV at 262,144 tokens, MiB of state per sequence."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Model]:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models


@pytest.mark.parametrize("size", FIGURES)
def test_figures_of_every_size(models: Mapping[str, Model], size: str) -> None:
    a = models[f"qwen3.5-{size}"].architecture
    per_token, at_full_context, state = FIGURES[size]
    assert kv_bytes_per_token(a) == per_token
    assert kv_bytes_per_token(a) * 262_144 == at_full_context * GIB
    assert state_bytes_per_sequence(a) / MIB == pytest.approx(state, abs=0.06)


def test_a_logged_engine(models: Mapping[str, Model]) -> None:
    """The 0.8B shape with -np 8 -c 8192, as a real llama-server logged it."""
    a = models["qwen3.5-0.8b"].architecture
    footprint = llama_server(494 * MIB, 0, a, 1024, 8)
    assert footprint.kv_cache == 96 * MIB
    assert round(footprint.state / MIB, 2) == 154.12
    assert round(footprint.compute / MIB, 2) == 56.14 + 7.58


@pytest.mark.parametrize(("size", "logged"), [("0.8b", 161.31), ("4b", 223.30), ("27b", 248.10)])
def test_an_image_takes_what_was_logged(
    models: Mapping[str, Model], size: str, logged: float
) -> None:
    """llama-server's warm-up with an image of 1472 x 1472 pixels: 46 x 46 tokens."""
    vision = models[f"qwen3.5-{size}"].architecture.vision
    assert vision is not None
    assert 0.999 * logged <= image_compute(vision, 46 * 46) / MIB <= 1.08 * logged


def test_images_cost_only_builds_that_take_them(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-9b"].architecture
    assert a.vision is not None
    text, both = llama_server(1, 0, a, 4096, 1), llama_server(1, 1, a, 4096, 1)
    assert both.compute - text.compute == image_compute(a.vision)
    demo = models["demo"].architecture
    assert llama_server(1, 1, demo, 4096, 1).compute == llama_server(1, 0, demo, 4096, 1).compute


def test_components(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-9b"].architecture
    one = llama_server(1000, 10, a, 4096, 1)
    two = llama_server(1000, 10, a, 4096, 2)
    assert one.weights == two.weights == 1010
    assert (two.kv_cache, two.state) == (2 * one.kv_cache, 2 * one.state)
    assert one.checkpoints == CONTEXT_CHECKPOINTS * state_bytes_per_sequence(a)
    assert two.checkpoints == 2 * one.checkpoints
    assert one.required == one.weights + one.kv_cache + one.state + one.compute
    assert one.total == one.required + one.checkpoints + one.prompt_cache
    assert sum(getattr(one, field.name) for field in fields(Footprint)) == one.total


def test_contexts_are_rounded_up_as_llama_cpp_does(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-9b"].architecture
    assert llama_server(0, 0, a, 333, 3).kv_cache == 3 * 512 * 32_768


def test_quantized_kv_and_drafting(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-9b"].architecture
    plain, small = llama_server(0, 0, a, 4096, 1), llama_server(0, 0, a, 4096, 1, 34 / 32)
    assert small.kv_cache * 32 == plain.kv_cache * 17
    drafting = llama_server(0, 0, a, 4096, 1, draft_tokens=3)
    assert drafting.state == 4 * plain.state


def test_the_largest_checkpoints(models: Mapping[str, Model]) -> None:
    """32 of them, llama-server's own default, are 4.7 GiB a slot for the 122B."""
    a = models["qwen3.5-122b-a10b"].architecture
    footprint = llama_server(0, 0, a, 4096, 1, checkpoints=32)
    assert footprint.checkpoints / GIB == pytest.approx(4.66, abs=0.01)


def test_the_engine_is_launched_with_what_is_planned(tmp_path: Path) -> None:
    launch = Launch(tmp_path, tmp_path, "a", tmp_path / "a.sock", context=1, slots=1, threads=1)
    assert (launch.checkpoints, launch.prompt_cache) == (CONTEXT_CHECKPOINTS, PROMPT_CACHE)
