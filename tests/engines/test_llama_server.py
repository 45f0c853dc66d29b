from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.engines.llama_server import Launch, argv, environment

LAUNCH = Launch(
    binary=Path("/opt/llama-server"),
    model_file=Path("/models/nine.gguf"),
    alias="qwen3.5-9b:q4_k_m",
    socket=Path("/run/nine.sock"),
    context=32768,
    slots=4,
    threads=16,
)


def value(arguments: list[str], flag: str) -> str:
    assert arguments.count(flag) == 1
    return arguments[arguments.index(flag) + 1]


def test_the_command_line() -> None:
    arguments = argv(LAUNCH)
    assert arguments[0] == "/opt/llama-server"
    expected = {
        "--host": "/run/nine.sock",
        "--model": "/models/nine.gguf",
        "--alias": "qwen3.5-9b:q4_k_m",
        "--parallel": "4",
        "--ctx-size": "131072",
        "--threads": "16",
        "--device": "none",
        "--fit": "off",
        "--reasoning-format": "deepseek",
        "--verbosity": "4",
    }
    assert {flag: value(arguments, flag) for flag in expected} == expected
    flags = ["--jinja", "--offline", "--no-ui", "--no-kv-unified", "--no-context-shift"]
    assert all(arguments.count(flag) == 1 for flag in flags)
    assert "--no-mmproj" in arguments
    assert "--gpu-layers" not in arguments
    assert "--port" not in arguments


@pytest.mark.parametrize(
    ("context", "slots", "total"),
    [(4096, 1, 4096), (4096, 3, 12288), (1000, 2, 2048), (1, 4, 1024)],
)
def test_every_slot_really_gets_its_context(context: int, slots: int, total: int) -> None:
    assert value(argv(replace(LAUNCH, context=context, slots=slots)), "--ctx-size") == str(total)


def test_on_gpus_with_an_image_encoder() -> None:
    launch = replace(LAUNCH, gpus=("GPU-a", "GPU-b"), mmproj=Path("/models/mm.gguf"))
    arguments = argv(launch)
    assert value(arguments, "--device") == "CUDA0,CUDA1"
    assert value(arguments, "--gpu-layers") == "all"
    assert value(arguments, "--mmproj") == "/models/mm.gguf"
    assert "--no-mmproj" not in arguments
    assert value(argv(replace(launch, gpu_layers=20)), "--gpu-layers") == "20"


def test_experts_in_ram_layers_split_and_a_smaller_cache() -> None:
    launch = replace(LAUNCH, gpus=("GPU-a", "GPU-b"), gpu_layers=41, layer_split=(30, 11))
    arguments = argv(replace(launch, cpu_experts=12, kv_type="q8_0"))
    expected = {
        "--gpu-layers": "41",
        "--split-mode": "layer",
        "--tensor-split": "30,11",
        "--n-cpu-moe": "12",
        "--cache-type-k": "q8_0",
        "--cache-type-v": "q8_0",
    }
    assert {flag: value(arguments, flag) for flag in expected} == expected
    assert not set(argv(LAUNCH)) & {"--split-mode", "--tensor-split", "--n-cpu-moe", "--spec-type"}


def test_drafting() -> None:
    arguments = argv(replace(LAUNCH, draft_tokens=2))
    assert value(arguments, "--spec-type") == "draft-mtp"
    assert value(arguments, "--spec-draft-n-max") == "2"


def test_embeddings() -> None:
    assert "--embeddings" not in argv(LAUNCH)
    arguments = argv(replace(LAUNCH, embeddings=True))
    assert "--embeddings" in arguments
    assert value(arguments, "--pooling") == "last"


@pytest.mark.parametrize(
    "change",
    [
        {"model_file": Path("nine.gguf")},
        {"binary": Path("llama-server")},
        {"mmproj": Path("mm.gguf")},
        {"socket": Path("/run/nine")},
        {"context": 0},
        {"slots": 0},
        {"threads": 0},
        {"gpus": ("GPU-a",), "layer_split": (1, 2)},
    ],
)
def test_what_cannot_be_launched_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"absolute|positive"):
        replace(LAUNCH, **change)


def test_the_environment_is_an_allow_list() -> None:
    parent = {
        "PATH": "/bin",
        "HOME": "/home/ada",
        "LD_LIBRARY_PATH": "/opt/cuda/lib",
        "CUDA_VISIBLE_DEVICES": "3",
        "OPENAI_API_KEY": "sk-secret",
        "HF_TOKEN": "hf_secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HOLDFAST_HOME": "/data",
        "LLAMA_ARG_HOST": "0.0.0.0",
        "LLAMA_API_KEY": "secret",
        "AIP_MODE": "PREDICTION",
        "LD_PRELOAD": "/tmp/x.so",
    }
    kept = {name: parent[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    kept["GGML_NO_BACKTRACE"] = "1"
    kept["LLAMA_ARG_VIDEO_FFMPEG_DIR"] = "/nonexistent"
    assert environment(parent) == kept | {"CUDA_VISIBLE_DEVICES": ""}
    gpus = ("GPU-b", "GPU-a")
    assert environment(parent, gpus) == kept | {"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a"}
