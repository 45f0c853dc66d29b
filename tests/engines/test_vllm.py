from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server import demo
from server.engines.vllm import BATCHED_TOKENS, Launch, graph_sizes
from server.errors import StoreError
from server.units import GIB

LAUNCH = Launch(
    python=Path("/opt/vllm/bin/python"),
    folder=Path("/models/nine"),
    alias="qwen3.5-9b",
    socket=Path("/run/nine.sock"),
    context=32768,
    slots=4,
    kv_cache_bytes=3 * GIB,
)
GPU = replace(LAUNCH, gpus=("GPU-a",))
PAIR = replace(LAUNCH, gpus=("GPU-a", "GPU-b"), tensor_parallel=2)


def value(arguments: list[str], flag: str) -> str:
    assert arguments.count(flag) == 1
    return arguments[arguments.index(flag) + 1]


def test_the_command_line() -> None:
    arguments = LAUNCH.argv()
    module = ["/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert arguments[:3] == module
    expected = {
        "--uds": "/run/nine.sock",
        "--model": "/models/nine",
        "--served-model-name": "qwen3.5-9b",
        "--max-model-len": "32768",
        "--max-num-seqs": "4",
        "--max-num-batched-tokens": str(BATCHED_TOKENS),
        "--kv-cache-memory-bytes": str(3 * GIB),
        "--kv-cache-dtype": "auto",
        "--reasoning-parser": "qwen3",
        "--tool-call-parser": "qwen3_coder",
        "--generation-config": "vllm",
    }
    assert {flag: value(arguments, flag) for flag in expected} == expected
    assert {"--language-model-only", "--enable-auto-tool-choice", "--enforce-eager"} <= {*arguments}
    never = {"--trust-remote-code", "--port", "--host", "--api-key", "--enable-log-requests"}
    assert not never & {*arguments}


@pytest.mark.parametrize(
    ("launch", "there", "absent"),
    [
        (LAUNCH, "--no-enable-prefix-caching", "--enable-prefix-caching"),
        (GPU, "--enable-prefix-caching", "--no-enable-prefix-caching"),
        (GPU, '--structured-outputs-config {"backend":"xgrammar"}', "auto-xgrammar"),
        (GPU, "--cudagraph-capture-sizes 1 2 4", "--enforce-eager"),
        (replace(GPU, graphs=False), "--enforce-eager", "--cudagraph-capture-sizes"),
        (replace(GPU, vision=True), '--limit-mm-per-prompt {"video":0}', "--language-model-only"),
        (replace(GPU, kv_type="fp8"), "--kv-cache-dtype fp8", "auto"),
        (replace(GPU, sleeps=True), "--enable-sleep-mode", "--distributed-executor-backend"),
        (
            replace(GPU, draft_tokens=2),
            '--speculative-config {"method":"mtp","num_speculative_tokens":2}',
            "--enable-sleep-mode",
        ),
        (PAIR, "--tensor-parallel-size 2", "--enable-expert-parallel"),
        (PAIR, "--distributed-executor-backend mp", "ray"),
        (replace(PAIR, expert_parallel=True), "--enable-expert-parallel", "ray"),
        (
            replace(PAIR, pipeline_parallel=2, nodes=2),
            "--pipeline-parallel-size 2 --distributed-executor-backend ray",
            "mp",
        ),
    ],
)
def test_flags_for_what_was_planned(launch: Launch, there: str, absent: str) -> None:
    arguments = launch.argv()
    assert there in " ".join(arguments)
    assert absent not in arguments


@pytest.mark.parametrize(
    ("slots", "draft", "sizes"),
    [
        (1, 0, (1,)),
        (2, 0, (1, 2)),
        (6, 0, (1, 2, 4, 6)),
        (8, 0, (1, 2, 4, 8)),
        (20, 0, (1, 2, 4, 8, 16, 20)),
        (4, 1, (2, 4, 8)),
        (3, 2, (3, 6, 9)),
    ],
)
def test_graphs_for_what_the_slots_can_make_and_no_more(
    slots: int, draft: int, sizes: tuple[int, ...]
) -> None:
    assert graph_sizes(slots, draft) == sizes


@pytest.mark.parametrize(
    "change",
    [
        {"folder": Path("nine")},
        {"python": Path("python")},
        {"socket": Path("nine.sock")},
        {"context": 0},
        {"slots": 0},
        {"kv_cache_bytes": 0},
        {"sleeps": True},
        {"tensor_parallel": 2},
        {"gpus": ("GPU-a", "GPU-b")},
        {"gpus": ("GPU-a",), "nodes": 2},
    ],
)
def test_what_cannot_be_launched_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"absolute|positive|ranks|sleep"):
        replace(LAUNCH, **change)


PARENT = {
    "PATH": "/bin",
    "HOME": "/home/ada",
    "LD_LIBRARY_PATH": "/opt/cuda/lib",
    "CUDA_VISIBLE_DEVICES": "3",
    "OPENAI_API_KEY": "sk-secret",
    "HF_TOKEN": "hf_secret",
    "HF_HOME": "/secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "VLLM_API_KEY": "secret",
    "VLLM_PLUGINS": "secret",
    "VLLM_SERVER_DEV_MODE": "1",
    "RAY_ADDRESS": "head:6379",
    "PYTHONPATH": "/secret",
    "LD_PRELOAD": "/tmp/x.so",
}


def test_the_environment_is_an_allow_list() -> None:
    made = LAUNCH.environment(PARENT)
    kept = {name: made[name] for name in PARENT if name in made}
    expected = {name: PARENT[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    assert kept == expected | {"CUDA_VISIBLE_DEVICES": ""}
    assert "secret" not in json.dumps(made)
    told = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    assert {name: made[name] for name in told} == told


def test_what_only_some_engines_are_told() -> None:
    made = replace(PAIR, sleeps=True).environment(PARENT)
    assert made["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert made["VLLM_SERVER_DEV_MODE"] == "1"
    assert "OMP_NUM_THREADS" not in made
    cluster = replace(PAIR, pipeline_parallel=2, nodes=2).environment(PARENT)
    assert cluster["RAY_ADDRESS"] == "head:6379"
    assert "VLLM_HOST_IP" not in cluster


def test_only_one_launched_for_it_can_sleep() -> None:
    assert LAUNCH.sleep is None
    assert GPU.sleep is None
    sleep = replace(GPU, sleeps=True).sleep
    assert sleep is not None
    assert sleep.sleep_path == "/sleep?level=1", "level 2 would drop the weights"
    assert sleep.probe_body["temperature"] == 0
    assert sleep.probe_body["model"] == "qwen3.5-9b"


# ---- The files, before vLLM sees them ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo.SAFETENSORS, tmp_path / "demo"))


def test_whole_files_are_counted(folder: Path) -> None:
    weights = (folder / "model.safetensors").stat().st_size
    assert replace(LAUNCH, folder=folder).check_files() == weights


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "no *.safetensors file is there"),
        (lambda f: (f / "config.json").unlink(), "config.json is absent"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64), "model.safetensors: its"),
        (lambda f: (f / "config.json").write_text('{"auto_map": {}}'), "names code to be run"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-00002.safetensors"}}'
            ),
            "model-00002.safetensors",
        ),
    ],
)
def test_damaged_files_are_told_before_a_start(folder: Path, damage: Any, told: str) -> None:
    damage(folder)
    with pytest.raises(StoreError) as caught:
        replace(LAUNCH, folder=folder).check_files()
    assert str(folder) in caught.value.what
    assert told in caught.value.why
