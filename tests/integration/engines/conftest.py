from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from server import settings
from server.demo import GGUF
from server.engines import vllm
from server.engines.binary import find_llama_server
from server.engines.engine import Engine
from server.engines.llama_server import Launch
from tests.integration.supervised import CONTEXT, QUICK, Make


@pytest.fixture(scope="session")
def program() -> Path:
    return find_llama_server(settings.load(os.environ)).path


@pytest.fixture
async def make(program: Path, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes engines; what runs of them in the end is stopped."""
    made: list[Engine] = []
    before = set(psutil.Process().children(recursive=True))

    def make(
        name: str = "demo:test", launch: Launch | vllm.Launch | None = None, **changes: Any
    ) -> Engine:
        socket = tmp_path / "run" / f"{len(made)}.sock"
        launch = launch or Launch(
            binary=program,
            model_file=GGUF,
            alias="demo",
            socket=socket,
            context=CONTEXT,
            slots=2,
            threads=1,
        )
        changes = {"socket": socket} | changes
        known = {key: changes.pop(key) for key in list(changes) if hasattr(launch, key)}
        options: dict[str, Any] = {"logs": tmp_path / "logs", "policy": QUICK, **changes}
        made.append(Engine(name, replace(launch, **known), **options))
        return made[-1]

    yield make
    await asyncio.gather(*(engine.stop(0) for engine in made))
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a program out of lines of shell, to stand where llama-server stands."""

    def write(lines: str) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return path

    return write
