"""What the tests on a real card stand on: the demo, launched as the fleet would launch it there.

Without a card they are skipped. `HOLDFAST_GPU_TESTS=cpu` has them run on the CPU instead, by hand,
to see that they themselves are sound. `pytest -s` shows the figures, a record to be kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server import catalogue, demo, settings
from server.catalogue import Catalogue
from server.engines.binary import find_llama_server
from server.engines.engine import Engine
from server.engines.launching import Programs, launch_of
from server.engines.restart import Policy
from server.engines.taking import on_gpus
from server.engines.vllm_binary import find_vllm
from server.hardware import nvml
from server.hardware.machine import Machine
from server.hardware.probe import probe
from server.planning.accuracy import Row, rows
from server.planning.calibration import observe
from server.planning.deployment import Deployment
from server.planning.footprint import footprint
from server.planning.weights import WeightMap, from_gguf_headers, from_safetensors_headers
from server.settings import Settings
from server.store.gguf import read_header
from server.store.layout import Installed, locate
from server.store.safetensors import read_safetensors_header
from server.units import format_bytes

ON_CPU = os.environ.get("HOLDFAST_GPU_TESTS") == "cpu"
LOADED = 900.0  # seconds; vLLM may compile kernels for a card that it meets for the first time
ASKED = tuple(one for one in demo.questions() if one.ends and not one.tools)[:12]


@dataclass
class Bench:
    """Engines on the first cards of this machine, or on its CPU; what they took and said."""

    settings: Settings
    machine: Machine
    catalogue: Catalogue
    folder: Path
    made: list[Engine] = field(default_factory=list)

    def gpus(self, count: int = 1) -> tuple[str, ...]:
        """The first `count` cards; none where the tests run on the CPU."""
        if ON_CPU:
            return ()
        if len(self.machine.gpus) < count:
            pytest.skip(f"this needs {count} GPUs, and here are {len(self.machine.gpus)}")
        return tuple(gpu.uuid for gpu in self.machine.gpus[:count])

    async def start(self, deployment: Deployment, *, sleeps: bool = False) -> Engine:
        """The engine of `deployment`, ready; of one that is not, the reason is the test's."""
        model = self.catalogue.models[deployment.model]
        build = next(one for one in model.builds if one.name == deployment.build)
        installed = locate(build, self.settings)
        assert isinstance(installed, Installed)
        vllm = find_vllm(self.settings) if deployment.engine == "vllm" else None
        launch = launch_of(
            deployment,
            installed,
            model.architecture,
            Programs(find_llama_server(self.settings), vllm),
            socket=self.folder / f"{len(self.made)}.sock",
            threads=1,
            sleeps=sleeps,
        )
        # Whatever goes wrong is told at once, with the last words of the engine.
        engine = Engine(deployment.build, launch, logs=self.folder / "logs", policy=Policy(exits=1))
        self.made.append(engine)
        await engine.start()
        await engine.wait_ready(LOADED)
        return engine

    async def memory(self, engine: Engine, deployment: Deployment) -> dict[tuple[str, str], Row]:
        """Predicted and actual bytes by device and component, printed; NVML tells of each
        process."""
        architecture = self.catalogue.models[deployment.model].architecture
        actual = await engine.taken()
        assert actual is not None
        predicted = footprint(deployment, architecture, _weights(deployment, architecture.layers))
        seen = observe(_now(), deployment, engine.launch.version, {}, predicted, predicted, actual)
        found: dict[tuple[str, str], Row] = {
            (row.device, row.component or "total"): row for row in rows(seen)
        }
        for (device, component), row in found.items():
            self.tell(
                f"  {device} {component}: predicted {format_bytes(row.predicted)}, "
                f"actual {format_bytes(row.actual)}"
            )
        return found

    async def held(self, engine: Engine, gpu: str) -> int:
        """Bytes of the card that the driver says its processes hold."""
        run = engine._run
        assert run is not None
        gpus = await asyncio.to_thread(lambda: nvml.read().gpus)
        return on_gpus(gpus, run.process.pids()).get(gpu, 0)

    def tell(self, line: str) -> None:
        print(line)

    def head(self, title: str, engine: Engine) -> None:
        """The first line of a record: what, when, on which card, with which driver and engine."""
        cards = [gpu.name or gpu.uuid for gpu in self.machine.gpus] or [str(self.machine.cpu.model)]
        launch = engine.launch
        self.tell(
            f"\n{title}: {_now()}, {' and '.join(cards)}, driver {self.machine.driver}, "
            f"{launch.engine} {launch.version}"
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    machine = probe(tmp_path)
    if not machine.gpus and not ON_CPU:
        pytest.skip("no NVIDIA GPU answers NVML here")
    known = replace(settings.load(os.environ, configs=()), home=tmp_path / "home")
    found = Bench(known, machine, catalogue.load(known), tmp_path)
    yield found
    await asyncio.gather(*(engine.stop(0) for engine in found.made))


async def disagreements(engine: Engine) -> dict[str, tuple[str, str]]:
    """By question, what the demo says and what this engine says, where that is not the same."""
    found = {}
    for question in ASKED:
        body: dict[str, Any] = {
            "model": "demo",
            "messages": list(question.messages),
            "chat_template_kwargs": {"enable_thinking": question.thinking},
            "temperature": 0,
            "max_tokens": question.tokens + 8,
        }
        async with engine.session.post("/v1/chat/completions", json=body) as response:
            reply = await response.json()
            assert response.status == 200, reply
        said = reply["choices"][0]["message"]["content"] or ""
        if said.strip() != question.content.strip():
            found[question.id] = (question.content, said)
    return found


def _weights(deployment: Deployment, layers: int) -> WeightMap:
    if deployment.engine == "llama-server":
        return from_gguf_headers([read_header(demo.GGUF)], layers)
    files = sorted(demo.SAFETENSORS.glob("*.safetensors"))
    return from_safetensors_headers([read_safetensors_header(file) for file in files], layers)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
