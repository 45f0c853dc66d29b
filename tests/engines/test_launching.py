from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.catalogue import Architecture, Build, Vision
from server.engines import llama_server, vllm
from server.engines.binary import Binary
from server.engines.launching import Programs, launch_of
from server.engines.vllm_binary import Interpreter
from server.errors import DoesNotFit, EngineMissing
from server.planning.deployment import Deployment
from server.planning.footprint.blocks import blocks
from server.store.layout import Installed

NINE = Architecture(
    kind="qwen3_5", layers=32, hidden=4096, heads=16, kv_heads=4, head_dim=256,
    full_attention_interval=4, linear_key_heads=16, linear_key_head_dim=128,
    linear_value_heads=32, linear_value_head_dim=128, conv_kernel=4, vocab=248320, tied=False,
    ffn=12288, mtp_layers=1, vision=Vision(27, 1152, 16, 4304),
)  # fmt: skip
GGUF = Deployment("nine", "nine:q4_k_m", "llama-server", (), context=32768, slots=4)
WHOLE = Deployment("nine", "nine:bf16", "vllm", ("GPU-a",), context=32768, slots=4)
PROGRAMS = Programs(
    Binary(Path("/opt/llama-server"), "0.5.0", "built"),
    Interpreter(Path("/opt/vllm/bin/python"), "0.32.0", cpu=False, source="set-up"),
)


def files(main: str, mmproj: str | None = None) -> Installed:
    path = Path(main)
    build = Build("nine", "x", "llama-server", "gguf", "x", path=path)
    return Installed(build, (path,), path, Path(mmproj) if mmproj else None, 1, 1)


def launch(deployment: Deployment, programs: Programs = PROGRAMS, **options: Any) -> Any:
    main = "/models/nine.gguf" if deployment.engine == "llama-server" else "/models/nine"
    options = {"socket": Path("/run/nine.sock"), "threads": 8, **options}
    return launch_of(deployment, files(main, "/models/mm.gguf"), NINE, programs, **options)


def test_every_choice_reaches_llama_server() -> None:
    gpus = ("GPU-a", "GPU-b")
    planned = replace(
        GGUF, gpus=gpus, gpu_layers=20, layer_split=(10, 10), cpu_experts=3, kv_type="q8_0",
        draft_tokens=2, checkpoints=4, prompt_cache=0,
    )  # fmt: skip
    assert launch(planned) == llama_server.Launch(
        binary=Path("/opt/llama-server"),
        model_file=Path("/models/nine.gguf"),
        alias="nine",
        socket=Path("/run/nine.sock"),
        context=32768,
        slots=4,
        threads=8,
        mmproj=Path("/models/mm.gguf"),
        gpus=gpus,
        gpu_layers=20,
        layer_split=(10, 10),
        cpu_experts=3,
        kv_type="q8_0",
        draft_tokens=2,
        checkpoints=4,
        prompt_cache=0,
        version="0.5.0",
    )
    assert launch(replace(GGUF, vision=False)).mmproj is None
    embeds = launch(replace(GGUF, embeddings=True))
    assert isinstance(embeds, llama_server.Launch)
    assert embeds.embeddings


def test_every_choice_reaches_vllm() -> None:
    gpus = ("GPU-a", "GPU-b")
    planned = replace(
        WHOLE, gpus=gpus, tensor_parallel=2, pipeline_parallel=2, nodes=2, kv_type="fp8",
        draft_tokens=1, graphs=False, expert_parallel=True, kv_cache_bytes=8 << 30,
    )  # fmt: skip
    assert launch(planned, sleeps=True) == vllm.Launch(
        python=Path("/opt/vllm/bin/python"),
        folder=Path("/models/nine"),
        alias="nine",
        socket=Path("/run/nine.sock"),
        context=32768,
        slots=4,
        kv_cache_bytes=8 << 30,
        gpus=gpus,
        threads=8,
        kv_type="fp8",
        tensor_parallel=2,
        pipeline_parallel=2,
        expert_parallel=True,
        nodes=2,
        vision=True,
        draft_tokens=1,
        graphs=False,
        sleeps=True,
        version="0.32.0",
    )


def test_left_open_the_cache_is_what_the_slots_need() -> None:
    assert launch(WHOLE).kv_cache_bytes == blocks(WHOLE, NINE).pool(4)


def test_on_a_cpu_nothing_sleeps() -> None:
    cpu = replace(PROGRAMS, vllm=replace(PROGRAMS.vllm, cpu=True))  # type: ignore[type-var]
    assert launch(replace(WHOLE, gpus=()), cpu, sleeps=True).sleep is None
    with pytest.raises(EngineMissing, match="has the build for CPUs"):
        launch(WHOLE, cpu)


@pytest.mark.parametrize(
    ("deployment", "step"), [(GGUF, "Run scripts/setup"), (WHOLE, "Run scripts/setup --vllm")]
)
def test_an_engine_that_is_not_there_is_told(deployment: Deployment, step: str) -> None:
    with pytest.raises(EngineMissing) as caught:
        launch(deployment, Programs())
    assert caught.value.next_step == step


@pytest.mark.parametrize(
    ("context", "slots", "of", "why"),
    [
        (32768, 4, 0.2, "one sequence of 32768 tokens takes"),
        (1024, 64, 0.5, "the recurrent states of 64 slots take 384 blocks"),
    ],
)
def test_a_cache_that_vllm_would_refuse_after_loading_is_refused_before(
    context: int, slots: int, of: float, why: str
) -> None:
    deployment = replace(WHOLE, context=context, slots=slots)
    divided = blocks(deployment, NINE)
    small = round(of * divided.pool(1 if "one sequence" in why else slots))
    with pytest.raises(DoesNotFit, match=why):
        launch(replace(deployment, kv_cache_bytes=small))
    enough = (max(divided.sequence, divided.states * slots) + 1) * divided.bytes
    assert launch(replace(deployment, kv_cache_bytes=enough)).kv_cache_bytes == enough
    with pytest.raises(DoesNotFit):
        launch(replace(deployment, kv_cache_bytes=enough - 1))
