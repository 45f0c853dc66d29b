"""Both engines with the demo on a real card: what they say, and what they take of it.

Records to be kept: `pytest -s tests/gpu`. What is not here: FP8 and GPTQ, of which the demo has no
build, and multi-token prediction, for which it has no layer. Should an attention kernel refuse
heads of 64 on some card, then the engine's last words, which say so, are the error of the test.
"""

from __future__ import annotations

import time

import pytest

from server.engines.lifecycle import State
from server.planning.deployment import Deployment
from server.units import GIB, MIB
from tests.gpu.conftest import LOADED, ON_CPU, Bench, disagreements

pytestmark = pytest.mark.gpu

EXACT = ("weights", "kv_cache", "state")
ROUNDING = {"llama-server": 0.02 * MIB, "vllm": 0.02 * GIB}
"""Their logs have two decimals: of a MiB, and of a GiB."""
NEAR = 0.08
"""Of all bytes together, before anything was learned of this card."""


def llama(gpus: tuple[str, ...], **more: object) -> Deployment:
    return Deployment("demo", "demo:f16", "llama-server", gpus, 4096, 2, **more)  # type: ignore[arg-type]


def vllm(gpus: tuple[str, ...], **more: object) -> Deployment:
    return Deployment("demo", "demo:bf16", "vllm", gpus, 2048, 4, **more)  # type: ignore[arg-type]


async def check(bench: Bench, title: str, deployment: Deployment) -> None:
    """It starts, says what the demo says, and takes what was foretold."""
    began = time.monotonic()
    engine = await bench.start(deployment)
    bench.head(title, engine)
    bench.tell(f"  ready after {time.monotonic() - began:.1f} s")
    found = await bench.memory(engine, deployment)
    assert await disagreements(engine) == {}
    work = await engine.work()
    assert work is not None
    bench.tell(f"  {work.tokens} tokens, {work.decode or 0:.1f} a second")
    for device in deployment.gpus or ("ram",):
        for component in EXACT:
            row = found.get((device, component))
            if row is not None:
                near = pytest.approx(row.actual, abs=ROUNDING[deployment.engine])
                assert row.predicted == near, (device, component)
        total = found[device, "total"]
        assert abs(total.first_error or 1.0) < NEAR, (device, total.predicted, total.actual)


async def test_llama_server(bench: Bench) -> None:
    await check(bench, "llama-server", llama(bench.gpus()))


async def test_llama_server_with_layers_on_two_cards(bench: Bench) -> None:
    await check(bench, "llama-server, two cards", llama(bench.gpus(2)))


async def test_llama_server_with_half_of_the_layers_on_the_card(bench: Bench) -> None:
    gpus = bench.gpus()
    await check(bench, "llama-server, four layers", llama(gpus, gpu_layers=4 if gpus else None))


@pytest.mark.parametrize("graphs", [True, False])
async def test_vllm(bench: Bench, graphs: bool) -> None:
    title = f"vLLM, CUDA graphs {'on' if graphs else 'off'}"
    await check(bench, title, vllm(bench.gpus(), graphs=graphs))


async def test_vllm_on_two_cards(bench: Bench) -> None:
    gpus = bench.gpus(2)
    deployment = vllm(gpus, tensor_parallel=max(1, len(gpus)))
    await check(bench, "vLLM, tensor parallel", deployment)


async def test_vllm_sleeps_and_wakes_as_it_was(bench: Bench) -> None:
    deployment = vllm(bench.gpus())
    engine = await bench.start(deployment, sleeps=True)
    bench.head("vLLM, asleep and awake", engine)
    awake = await bench.memory(engine, deployment)
    assert await disagreements(engine) == {}
    if ON_CPU:  # vLLM sleeps on a GPU only
        return
    began = time.monotonic()
    await engine.sleep()
    bench.tell(f"  asleep after {time.monotonic() - began:.2f} s")
    assert engine.state is State.ASLEEP
    (gpu,) = bench.gpus()
    held = await bench.held(engine, gpu)
    total = awake[gpu, "total"].actual
    bench.tell(f"  {held} bytes of the GPU are held asleep, of {total}")
    assert held < total - awake[gpu, "weights"].actual
    began = time.monotonic()
    await engine.wake(LOADED)
    bench.tell(f"  awake after {time.monotonic() - began:.2f} s")
    assert engine.restarts == 0, engine.status().last_error
    assert await disagreements(engine) == {}
