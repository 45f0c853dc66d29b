"""The memory formulas, against figures of others, of llama.cpp's logs, and of llama.cpp itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server import settings
from server.catalogue import Model, load
from server.engines.binary import find_llama_server
from server.engines.llama_log import Buffer, LogReader
from server.engines.llama_server import Launch, argv, environment
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

if TYPE_CHECKING:
    from conftest import HollowGguf

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

LOGGED = [
    ("0.8b", 1, 1024, 43.16 + 0.95),
    ("0.8b", 8, 4096, 59.14 + 7.58),
    ("0.8b", 4, 32768, 74.58 + 3.79),
    ("0.8b", 1, 262144, 298.16 + 0.95),
    ("0.8b", 32, 4096, 106.52 + 30.31),
    ("2b", 1, 4096, 52.16 + 0.95),
    ("2b", 8, 4096, 65.14 + 7.58),
    ("4b", 1, 1024, 70.02 + 0.95),
    ("4b", 8, 4096, 92.52 + 7.58),
    ("4b", 16, 4096, 126.02 + 15.16),
    ("4b", 32, 4096, 193.02 + 30.31),
    ("9b", 1, 32768, 128.02 + 0.95),
    ("9b", 8, 4096, 101.52 + 7.58),
    ("9b", 16, 4096, 135.02 + 15.16),
    ("9b", 32, 4096, 202.02 + 30.31),
    ("27b", 1, 1024, 133.02 + 0.95),
    ("27b", 8, 4096, 136.02 + 7.58),
    ("27b", 16, 4096, 185.77 + 15.16),
    ("27b", 32, 4096, 285.52 + 30.31),
    ("35b-a3b", 1, 4096, 76.02 + 0.95),
    ("35b-a3b", 8, 4096, 92.77 + 7.58),
    ("35b-a3b", 16, 4096, 125.52 + 15.16),
    ("35b-a3b", 32, 4096, 191.02 + 30.31),
    ("122b-a10b", 2, 4096, 124.02 + 1.89),
    ("122b-a10b", 4, 32768, 160.58 + 3.79),
    ("122b-a10b", 8, 4096, 157.14 + 7.58),
    ("122b-a10b", 16, 4096, 222.27 + 15.16),
    ("397b-a17b", 2, 4096, 176.02 + 1.89),
    ("397b-a17b", 8, 4096, 176.02 + 7.58),
    ("397b-a17b", 16, 4096, 230.27 + 15.16),
]
"""Slots, tokens of each, and MiB of compute and output buffer that llama-server logged."""


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
    assert 56.14 + 7.58 <= footprint.compute / MIB <= 1.12 * (56.14 + 7.58)


@pytest.mark.parametrize(("size", "slots", "context", "logged"), LOGGED)
def test_compute_is_never_less_than_logged_and_little_more(
    models: Mapping[str, Model], size: str, slots: int, context: int, logged: float
) -> None:
    a = models[f"qwen3.5-{size}"].architecture
    estimate = llama_server(0, 0, a, context, slots).compute / MIB
    assert logged <= estimate <= 1.12 * logged


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


@pytest.mark.integration
@pytest.mark.parametrize(
    ("size", "slots", "context"),
    [
        ("0.8b", 8, 1024),
        ("4b", 2, 333),
        ("9b", 4, 4096),
        ("27b", 1, 32768),
        ("35b-a3b", 8, 4096),
        ("122b-a10b", 4, 4096),
        ("397b-a17b", 2, 4096),
    ],
)
def test_llama_server_reserves_what_is_computed(
    models: Mapping[str, Model],
    hollow_gguf: HollowGguf,
    tmp_path: Path,
    size: str,
    slots: int,
    context: int,
) -> None:
    """A real llama-server on each shape: 0.8B whole, the others cut to four layers."""
    a = models[f"qwen3.5-{size}"].architecture
    if size != "0.8b":
        a = replace(a, layers=4, vocab=32_768, experts=32 if a.experts else None)
    launch = Launch(
        find_llama_server(settings.load(os.environ, home=tmp_path)).path,
        hollow_gguf.write(a),
        "hollow",
        tmp_path / "engine.sock",
        context=context,
        slots=slots,
        threads=1,
    )
    reserved = _reserved(launch)
    footprint = llama_server(0, 0, a, context, slots)
    rounding = 0.006 * MIB  # the log has two decimals
    assert reserved["KV"] == pytest.approx(footprint.kv_cache, abs=rounding)
    assert reserved["RS"] == pytest.approx(footprint.state, abs=rounding)
    compute = reserved["compute"] + reserved["output"]
    assert compute - rounding <= footprint.compute <= 1.15 * compute


def _reserved(launch: Launch) -> dict[str, int]:
    """Bytes of the buffers that the engine logs, up to the last one; then it is killed."""
    reserved: dict[str, int] = {}
    reader = LogReader()
    process = subprocess.Popen(
        [*argv(launch), "--no-repack", "--no-warmup"],
        env=environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            event = reader.feed(line)
            if isinstance(event, Buffer):
                reserved[event.kind] = reserved.get(event.kind, 0) + event.bytes
                if event.kind == "compute":
                    return reserved
    finally:
        process.kill()
        process.communicate()
    raise AssertionError("".join(lines[-20:]))
