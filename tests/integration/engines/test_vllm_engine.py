"""The real vLLM under the supervisor, on the CPU: its start, its work, its sleep and its ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from server import demo
from server.catalogue import Architecture
from server.engines import vllm
from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.program import Sleep
from server.engines.restart import Policy
from server.engines.vllm_binary import Interpreter
from server.errors import DoesNotFit, EngineError, EngineMissing, EngineUnready, StoreError
from server.planning.deployment import Deployment
from server.planning.footprint.blocks import Blocks, blocks
from server.units import MIB
from tests.integration.supervised import CONTEXT, PROMPT, Make

pytestmark = pytest.mark.integration

LOADED = 240.0  # seconds that a start may take on a strained machine; it takes 20
ONCE = Policy(exits=1)
SECRETS = {"OPENAI_API_KEY": "canary-key", "HF_TOKEN": "canary-token", "VLLM_API_KEY": "canary"}


class Dozing(vllm.Launch):
    """One that is put to sleep as on a GPU. On a CPU vLLM does all of it but free the memory."""

    __slots__ = ()

    @property
    def sleep(self) -> Sleep:
        return Sleep("/sleep?level=1", "/wake_up", "/v1/completions", vllm.probe(self.alias))

    def environment(self, parent: Mapping[str, str]) -> dict[str, str]:
        return super().environment(parent) | {"VLLM_SERVER_DEV_MODE": "1"}


@pytest.fixture
def divided() -> Blocks:
    config = json.loads((demo.SAFETENSORS / "config.json").read_text())
    architecture = Architecture(
        kind="qwen3_5",
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
        full_attention_interval=4,
        linear_key_heads=config["linear_num_key_heads"],
        linear_key_head_dim=config["linear_key_head_dim"],
        linear_value_heads=config["linear_num_value_heads"],
        linear_value_head_dim=config["linear_value_head_dim"],
        conv_kernel=config["linear_conv_kernel_dim"],
        vocab=config["vocab_size"],
        tied=True,
    )
    return blocks(Deployment("demo", "demo:bf16", "vllm", (), CONTEXT, 2), architecture)


@pytest.fixture
def launch(require_vllm: Interpreter, tmp_path: Path, divided: Blocks) -> vllm.Launch:
    return vllm.Launch(
        python=require_vllm.path,
        folder=demo.SAFETENSORS,
        alias="demo",
        socket=tmp_path / "v.sock",
        context=CONTEXT,
        slots=2,
        kv_cache_bytes=divided.pool(2),
        version=require_vllm.version,
    )


async def ask(engine: Engine, text: str) -> str:
    """What it says after `text`, having waited for a slot first, as every request does."""
    body = {"model": "demo", "prompt": text, "max_tokens": 8, "temperature": 0}
    async with (
        engine.queue.acquire("client"),
        engine.session.post("/v1/completions", json=body) as response,
    ):
        assert response.status == 200, await response.text()
        return str((await response.json())["choices"][0]["text"])


async def blocks_of(engine: Engine) -> int:
    """What it says of itself in its metrics: the blocks of its cache."""
    async with engine.session.get(engine.launch.metrics_path) as response:
        page = await response.text()
    (line,) = [one for one in page.splitlines() if one.startswith("vllm:cache_config_info{")]
    return int(line.partition('num_gpu_blocks="')[2].partition('"')[0])


def family(engine: Engine) -> list[psutil.Process]:
    pid = engine.status().pid
    assert pid is not None
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


async def test_it_serves_sleeps_and_is_the_same_after_or_is_launched_anew(
    make: Make, launch: vllm.Launch, divided: Blocks
) -> None:
    fields = {name: getattr(launch, name) for name in vllm.Launch.__slots__}
    engine = make(launch=Dozing(**fields), environ={**os.environ, **SECRETS})
    await engine.start()
    with pytest.raises(EngineUnready):
        await engine.sleep()
    await engine.wait_ready(LOADED)
    await check_figures(engine, divided)
    check_isolation(engine)
    before = await ask(engine, PROMPT)

    async with engine.queue.acquire("busy"):
        with pytest.raises(EngineUnready, match="is busy"):
            await engine.sleep()
    assert await ask(engine, PROMPT) == before, "it goes on"

    await engine.sleep()
    assert engine.state is State.ASLEEP
    waiting = asyncio.create_task(ask(engine, PROMPT))
    await engine.wake(LOADED)
    assert await waiting == before
    assert engine.restarts == 0

    await engine.sleep()
    await lose_weights(engine)
    await engine.wake(LOADED)
    assert engine.restarts == 1
    assert "does not answer as it did before it slept" in (engine.status().last_error or "")
    assert await ask(engine, PROMPT) == before
    await check_end_asleep(engine)
    log = engine.log.path.read_text()
    assert "Starting vLLM server" in log
    assert "canary" not in log
    assert before.strip() not in log


async def check_figures(engine: Engine, divided: Blocks) -> None:
    """What it tells of its memory and its work is what was planned and asked."""
    size = divided.pool(2)
    status = engine.status()
    assert [(b.device, b.kind, b.bytes) for b in status.buffers] == [("CPU", "KV", size)]
    assert await blocks_of(engine) == size // divided.bytes
    processes = family(engine)
    assert len(processes) >= 3, "server, core, worker"
    assert status.rss > sum(one.memory_info().rss for one in processes) / 2 > 100 * MIB
    taken = await engine.taken()
    assert taken is not None
    assert taken["ram", "kv_cache"] == size
    assert taken["ram", "process"] > 100 * MIB
    earlier = await engine.work()
    await ask(engine, PROMPT)
    work = await engine.work()
    assert work is not None
    assert earlier is not None
    assert work.tokens - earlier.tokens == 8
    assert work.decode is not None


def check_isolation(engine: Engine) -> None:
    """Nothing of it can be reached from outside, and no key is in it."""
    assert engine.launch.socket.stat().st_mode & 0o077 == 0, "its socket is ours alone"
    for one in family(engine):
        listening = [c for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip for c in listening} <= {"127.0.0.1"}
        surroundings = one.environ()
        assert not {*SECRETS, *SECRETS.values()} & {*surroundings, *surroundings.values()}


async def check_end_asleep(engine: Engine) -> None:
    """A killed server has left its core and its memory behind (vllm#55510); nothing is left here,
    and nothing is launched: nobody asked for the memory to be taken again."""
    await engine.sleep()
    processes = family(engine)
    os.kill(processes[0].pid, signal.SIGKILL)
    assert await engine.changed() is State.STOPPED
    _, left = psutil.wait_procs(processes, timeout=60)
    assert not left
    with pytest.raises(EngineUnready):
        await engine.wake()


async def test_one_that_was_not_launched_for_it_does_not_sleep(
    make: Make, launch: vllm.Launch
) -> None:
    for engine in (make(launch=launch), make()):
        with pytest.raises(EngineError, match="cannot be put to sleep"):
            await engine.sleep()


async def lose_weights(engine: Engine) -> None:
    """What a faulty wake does: the process lives on, its weights are zeros."""
    body = {"method": "reset_weights"}
    async with engine.session.post("/collective_rpc", json=body) as response:
        assert response.status == 200


async def test_a_cache_that_is_one_block_too_small_is_refused_as_computed(
    make: Make, launch: vllm.Launch, divided: Blocks
) -> None:
    size = divided.sequence * divided.bytes - 1
    engine = make(launch=replace(launch, kv_cache_bytes=size), policy=ONCE)
    await engine.start()
    with pytest.raises(DoesNotFit) as caught:
        await engine.wait_ready(LOADED)
    assert "larger than the available KV cache memory" in caught.value.why


READ_FLAGS = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
known = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])
validate_parsed_serve_args(known)
print(json.dumps({name: str(value) for name, value in vars(known).items()}))
"""


def test_it_understands_the_flags_that_only_gpus_get(launch: vllm.Launch) -> None:
    many = replace(
        launch, gpus=("GPU-a", "GPU-b"), tensor_parallel=2, pipeline_parallel=2, nodes=2,
        expert_parallel=True, kv_type="fp8", draft_tokens=2, vision=True, sleeps=True,
    )  # fmt: skip
    python, _, _, *flags = many.argv()
    done = subprocess.run(
        [python, "-c", READ_FLAGS, *flags],
        env=many.environment(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    known = json.loads(done.stdout.splitlines()[-1])
    expected = {
        "uds": str(launch.socket),
        "tensor_parallel_size": "2",
        "pipeline_parallel_size": "2",
        "distributed_executor_backend": "ray",
        "enable_expert_parallel": "True",
        "kv_cache_dtype": "fp8",
        "kv_cache_memory_bytes": str(launch.kv_cache_bytes),
        "cudagraph_capture_sizes": "[3, 6]",
        "enable_sleep_mode": "True",
        "enable_prefix_caching": "True",
        "enforce_eager": "False",
        "language_model_only": "False",
        "limit_mm_per_prompt": "{'video': 0}",
        "speculative_config": "{'method': 'mtp', 'num_speculative_tokens': 2}",
        "reasoning_parser": "qwen3",
        "tool_call_parser": "qwen3_coder",
        "generation_config": "vllm",
    }
    assert {name: known[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("change", "kind", "why"),
    [
        ({"architectures": ["Qwen9ForCausalLM"]}, StoreError, "Qwen9ForCausalLM"),
        (None, EngineMissing, "No module named"),
    ],
)
async def test_what_it_cannot_run_is_told(
    make: Make,
    launch: vllm.Launch,
    tmp_path: Path,
    change: dict[str, Any] | None,
    kind: type[EngineError],
    why: str,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in demo.SAFETENSORS.iterdir():
        (folder / file.name).symlink_to(file)
    if change is None:
        launch = replace(launch, python=Path(sys.executable))
    else:
        config = folder / "config.json"
        changed = json.loads(config.read_text()) | change
        config.unlink()
        config.write_text(json.dumps(changed))
    engine = make(launch=replace(launch, folder=folder), policy=ONCE)
    await engine.start()
    with pytest.raises(kind) as caught:
        await engine.wait_ready(LOADED)
    assert why in caught.value.why
    assert engine.state is State.FAILED
