"""llama-server's memory by device and component, against a real llama-server's log."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server import settings
from server.catalogue import Model, load
from server.engines.actuals import LlamaServerLog
from server.engines.binary import find_llama_server
from server.engines.llama_server import Launch, argv, environment
from server.engines.program import Reserved
from server.planning.deployment import Deployment, KvType
from server.planning.footprint import RAM, Footprint, footprint
from server.planning.footprint.llama_cpp import layer_devices
from server.planning.weights import LayerWeights, WeightMap, from_gguf_headers
from server.settings import Settings
from server.store.gguf import read_header
from server.units import MIB

if TYPE_CHECKING:
    from tests.planning.conftest import HollowGguf

A, B, C = "GPU-a", "GPU-b", "GPU-c"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Model]:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models


def deployment(**changes: object) -> Deployment:
    base = Deployment("m", "m:b", "llama-server", (), 4096, 2)
    return replace(base, **changes)  # type: ignore[arg-type]


WEIGHTS = WeightMap(
    embeddings=1000,
    output=10,
    layers=tuple(LayerWeights(dense=100 + number, experts=0) for number in range(24)),
    mtp=7,
    vision=500,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [RAM] * 25),
        ({"gpus": (A,)}, [A] * 25),
        ({"gpus": (A,), "gpu_layers": 0}, [RAM] * 25),
        ({"gpus": (A,), "gpu_layers": 1}, [RAM] * 24 + [A]),
        ({"gpus": (A,), "gpu_layers": 10}, [RAM] * 15 + [A] * 10),
        ({"gpus": (A,), "gpu_layers": 99}, [A] * 25),
        ({"gpus": (A, B), "layer_split": (20, 5)}, [A] * 20 + [B] * 5),
        ({"gpus": (A, B, C), "layer_split": (5, 0, 20)}, [A] * 5 + [C] * 20),
        ({"gpus": (A, B), "layer_split": (5, 5), "gpu_layers": 10}, [RAM] * 15 + [A] * 5 + [B] * 5),
        ({"gpus": (A, B)}, [A] * 13 + [B] * 12),
    ],
)
def test_layers_go_where_llama_cpp_puts_them(
    changes: dict[str, object], expected: list[str]
) -> None:
    assert list(layer_devices(deployment(**changes), 24)) == expected


def weights_on(found: Footprint) -> dict[str, int]:
    return {device: found.by_component(device).get("weights", 0) for device in found.by_device()}


def test_weights_by_device(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-0.8b"].architecture
    layers = sum(layer.dense for layer in WEIGHTS.layers)
    assert weights_on(footprint(deployment(), a, WEIGHTS)) == {RAM: 1000 + 10 + layers}
    # A tied head: the embeddings lie in RAM and on the GPU.
    assert weights_on(footprint(deployment(gpus=(A,)), a, WEIGHTS)) == {
        RAM: 1000,
        A: 1000 + 10 + layers,
    }
    untied = replace(a, tied=False)
    assert weights_on(footprint(deployment(gpus=(A,)), untied, WEIGHTS))[A] == 10 + layers
    split = footprint(deployment(gpus=(A, B), layer_split=(2, 23)), untied, WEIGHTS)
    assert weights_on(split) == {RAM: 1000, A: 100 + 101, B: 10 + layers - 201}
    drafting = footprint(deployment(draft_tokens=2), a, WEIGHTS)
    assert weights_on(drafting) == {RAM: 1000 + 10 + layers + 7}


def test_experts_may_stay_in_ram(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-35b-a3b"].architecture
    weights = replace(WEIGHTS, layers=tuple(LayerWeights(100, 10_000) for _ in range(a.layers)))
    found = footprint(deployment(gpus=(A,), cpu_experts=30), a, weights)
    assert weights_on(found) == {RAM: 1000 + 30 * 10_000, A: 10 + a.layers * 100 + 10 * 10_000}
    whole = footprint(deployment(gpus=(A,)), a, weights)
    # Long prompts fetch the matrices that stayed behind.
    plain = whole.by_component(A)["compute"]
    assert found.by_component(A)["compute"] - plain == 7100
    told = replace(weights, expert_sizes=frozenset({3000, 4000}))
    found = footprint(deployment(gpus=(A,), cpu_experts=30), a, told)
    assert found.by_component(A)["compute"] - plain == 7000
    assert footprint(deployment(gpus=(A,)), a, told).by_component(A)["compute"] == plain
    assert found.by_component(A)["kv_cache"] == whole.by_component(A)["kv_cache"]


def test_caches_follow_their_layers(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-0.8b"].architecture
    whole = footprint(deployment(), a, WEIGHTS)
    split = footprint(deployment(gpus=(A, B), layer_split=(8, 17)), a, WEIGHTS)
    assert split.of("kv_cache") == whole.of("kv_cache") == 2 * 4096 * 12_288
    assert split.of("state") == whole.of("state")
    assert split.by_component(A)["kv_cache"] * 3 == whole.of("kv_cache")
    assert split.by_component(A)["state"] * 3 == whole.of("state")
    assert RAM not in {share.device for share in split.shares if share.component == "state"}


@pytest.mark.parametrize(
    ("kv_type", "share"), [("f16", 1), ("bf16", 1), ("q8_0", 17 / 32), ("q4_0", 9 / 32)]
)
def test_types_of_the_cache(models: Mapping[str, Model], kv_type: KvType, share: float) -> None:
    a = models["qwen3.5-9b"].architecture
    whole = footprint(deployment(), a, replace(WEIGHTS, layers=WEIGHTS.layers + WEIGHTS.layers[:8]))
    found = footprint(
        deployment(kv_type=kv_type), a, replace(WEIGHTS, layers=WEIGHTS.layers + WEIGHTS.layers[:8])
    )
    assert found.of("kv_cache") == whole.of("kv_cache") * share


def test_images_cost_only_who_takes_them(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-0.8b"].architecture
    assert footprint(deployment(), a, WEIGHTS).of("vision") > 500
    assert footprint(deployment(vision=False), a, WEIGHTS).of("vision") == 0
    assert footprint(deployment(), a, replace(WEIGHTS, vision=0)).of("vision") == 0
    on_gpu = footprint(deployment(gpus=(A, B)), a, WEIGHTS)
    assert [s.device for s in on_gpu.shares if s.component == "vision"] == [A]


def test_what_stays_on_the_host(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-0.8b"].architecture
    found = footprint(deployment(gpus=(A,), checkpoints=3, prompt_cache=5 * MIB), a, WEIGHTS)
    assert found.of("checkpoints") == 3 * found.of("state")
    assert found.by_component(RAM)["prompt_cache"] == 5 * MIB
    assert {"context", "compute", "state", "kv_cache"} <= set(found.by_component(A))
    assert "context" not in found.by_component(RAM)


def test_gpus_that_take_turns_hold_copies_of_the_inputs(models: Mapping[str, Model]) -> None:
    a = models["qwen3.5-0.8b"].architecture
    one = footprint(deployment(gpus=(A,), context=65_536), a, WEIGHTS).by_component(A)["compute"]
    two = footprint(deployment(gpus=(A, B), context=65_536), a, WEIGHTS)
    assert two.by_component(A)["compute"] > one + 3 * 65_536 * 512 * 2
    partly = footprint(deployment(gpus=(A, B), context=65_536, gpu_layers=20), a, WEIGHTS)
    assert partly.by_component(A)["compute"] < one + 65_536 * 512 * 2


@pytest.mark.integration
@pytest.mark.parametrize(
    ("size", "slots", "context", "kv_type", "drafted"),
    [
        ("0.8b", 8, 1024, "f16", 0),
        ("0.8b", 2, 4096, "f16", 2),
        ("2b", 4, 8192, "q8_0", 0),
        ("4b", 2, 333, "q4_0", 0),
        ("9b", 3, 4096, "q8_0", 3),
        ("27b", 1, 32768, "bf16", 0),
        ("35b-a3b", 8, 4096, "q8_0", 1),
        ("122b-a10b", 4, 4096, "f16", 0),
        ("397b-a17b", 2, 4096, "f16", 0),
    ],
)
def test_a_real_llama_server_reserves_exactly_that(
    models: Mapping[str, Model],
    hollow_gguf: HollowGguf,
    tmp_path: Path,
    size: str,
    slots: int,
    context: int,
    kv_type: KvType,
    drafted: int,
) -> None:
    """Each shape, 0.8B whole and the others cut to four layers, weights read from the header."""
    a = models[f"qwen3.5-{size}"].architecture
    if size != "0.8b":
        a = replace(a, layers=4, vocab=32_768, experts=32 if a.experts else None)
    if not drafted:
        a = replace(a, mtp_layers=0)
    file = hollow_gguf.write(a)
    wanted = deployment(context=context, slots=slots, kv_type=kv_type, draft_tokens=drafted)
    predicted = footprint(wanted, a, from_gguf_headers([read_header(file)], a.layers))
    logged = reserved(file, wanted, tmp_path / "engine.sock")
    for component in ("weights", "kv_cache", "state", "compute", "output", "mtp"):
        # The log has two decimals of a MiB, in as many lines as there are buffers.
        assert logged.get((RAM, component), 0) == pytest.approx(
            predicted.of(component), abs=0.02 * MIB
        ), component


def reserved(file: Path, wanted: Deployment, socket: Path) -> Reserved:
    """Bytes that the engine logs until it would be ready; then it is killed."""
    launch = Launch(
        find_llama_server(settings.load(os.environ, home=socket.parent)).path,
        file,
        "hollow",
        socket,
        context=wanted.context,
        slots=wanted.slots,
        threads=1,
        kv_type=wanted.kv_type,
        draft_tokens=wanted.draft_tokens,
    )
    log = LlamaServerLog(wanted.gpus)
    process = subprocess.Popen(
        [*argv(launch), "--no-repack", "--no-warmup"],
        env=environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            log.feed(line)
            if "listening on" in line:
                return log.reserved()
    finally:
        process.kill()
        process.communicate()
    raise AssertionError("".join(lines[-20:]))
