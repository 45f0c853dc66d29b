"""How engines end: drained, stopped at any moment, and together with Holdfast."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from server.demo import GGUF
from server.engines.lifecycle import State
from server.engines.restart import Policy
from server.errors import (
    EngineUnready,
)
from tests.integration.supervised import PATIENCE, Make, answer, complete

pytestmark = pytest.mark.integration


async def test_draining_finishes_what_runs_and_refuses_the_rest(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    async with engine.queue.acquire("client"):
        response = await complete(engine, 200, stream=True)
        stopping = asyncio.create_task(engine.stop(20))
        assert await engine.changed() is State.DRAINING
        with pytest.raises(EngineUnready, match="is being stopped"):
            async with engine.queue.acquire("late"):
                pass
        with pytest.raises(EngineUnready):
            await engine.wait_ready(1)
        text = await response.text()
        assert '"stop":true' in text, "the stream came to its end"
        assert not stopping.done()
    await asyncio.wait_for(stopping, PATIENCE)
    assert engine.state is State.STOPPED


@pytest.mark.parametrize("impatient", [False, True])
async def test_a_drain_has_an_end(make: Make, impatient: bool) -> None:
    engine = make(slots=1)
    await engine.start()
    await engine.wait_ready(PATIENCE)
    async with engine.queue.acquire("client"):
        waiting = asyncio.create_task(answer(engine))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(engine.stop(10 * PATIENCE if impatient else 0.2))
        assert await engine.changed() is State.DRAINING
        if impatient:
            await engine.stop(0)
        await asyncio.wait_for(stopping, PATIENCE)
    assert engine.state is State.STOPPED
    with pytest.raises(EngineUnready, match="was stopped"):
        await waiting


async def test_stopped_while_loading_it_is_gone_at_once(
    make: Make, script: Callable[[str], Path]
) -> None:
    engine = make(binary=script("exec sleep 1000"))
    await engine.start()
    waiting = asyncio.create_task(answer(engine))
    await asyncio.sleep(0.1)
    assert engine.progress is not None
    await asyncio.wait_for(engine.stop(10 * PATIENCE), PATIENCE)
    assert engine.state is State.STOPPED
    assert engine.progress is None
    with pytest.raises(EngineUnready):
        await waiting


async def test_stopped_between_two_launches_it_stays_away(
    make: Make, script: Callable[[str], Path]
) -> None:
    engine = make(binary=script("exit 3"), policy=Policy(first=1000, longest=1000))
    await engine.start()
    while engine.status().restarts == 0:
        await engine.changed()
    await asyncio.wait_for(engine.stop(10 * PATIENCE), PATIENCE)
    assert engine.state is State.STOPPED


PARENT = """
import asyncio, sys
from pathlib import Path
from server.engines.engine import Engine
from server.engines.llama_server import Launch

async def main():
    launch = Launch(Path({program!r}), Path({model!r}), "demo", Path({socket!r}), 1024, 2, 1)
    engine = Engine("demo", launch, logs=Path({logs!r}))
    await engine.start()
    await engine.wait_ready()
    print(engine.status().pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_no_llama_server_outlives_its_supervisor(program: Path, tmp_path: Path) -> None:
    text = PARENT.format(
        program=str(program),
        model=str(GGUF),
        socket=str(tmp_path / "e.sock"),
        logs=str(tmp_path / "logs"),
    )
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        family = psutil.Process(parent.pid).children(recursive=True)
        assert engine in family
        parent.kill()
    _, left = psutil.wait_procs(family, timeout=PATIENCE)
    assert left == []
