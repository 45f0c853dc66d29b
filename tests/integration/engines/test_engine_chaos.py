"""Kills, stops and starts at random moments under load: nothing hangs, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter

import aiohttp
import psutil
import pytest

from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.restart import Policy
from server.errors import HoldfastError
from tests.integration.supervised import PATIENCE, Make, answer

pytestmark = pytest.mark.integration

SECONDS = 5.0
ACTS = ("kill", "kill", "terminate", "kill guard", "replace", "stop", "stop now", "stop twice")


async def load(engine: Engine, outcomes: Counter[str]) -> None:
    """Requests without end; none may hang, and each ends well or with an error that is told."""
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                outcomes[str(await answer(engine))] += 1
        except HoldfastError as error:
            outcomes[type(error).__name__] += 1
        except (aiohttp.ClientError, ConnectionError):
            outcomes["broken connection"] += 1
        await asyncio.sleep(0.01)


async def act(engine: Engine, what: str, chance: random.Random) -> None:
    pid = engine.status().pid
    if what == "replace":
        engine.replace("chaos")
    elif what == "stop":
        await engine.stop(chance.random() * 0.3)
    elif what == "stop now":
        await engine.stop(0)
    elif what == "stop twice":
        first = asyncio.create_task(engine.stop(5))
        await asyncio.sleep(chance.random() * 0.05)
        await engine.stop(0)
        await first
    elif pid is not None:
        number = signal.SIGTERM if what == "terminate" else signal.SIGKILL
        os.kill(psutil.Process(pid).ppid() if what == "kill guard" else pid, number)


@pytest.mark.parametrize("seed", [4, 5])
async def test_chaos(make: Make, seed: int) -> None:
    chance = random.Random(seed)
    engine = make(policy=Policy(first=0.01, longest=0.1, exits=6, window=5))
    outcomes: Counter[str] = Counter()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    clients = [asyncio.create_task(load(engine, outcomes)) for _ in range(4)]
    while not outcomes["200"]:
        await asyncio.sleep(0.01)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(chance.random() ** 2)
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):  # it was gone already
            await asyncio.wait_for(act(engine, chance.choice(ACTS), chance), PATIENCE)
        if engine.state in (State.STOPPED, State.FAILED):
            await engine.start()
    await asyncio.wait_for(engine.stop(1), PATIENCE)
    assert not any(client.done() for client in clients), "every outcome was one of those expected"
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    assert engine.state is State.STOPPED
    assert (engine.queue.running, engine.queue.waiting) == (0, 0)
    assert len(asyncio.all_tasks()) == 1, "no task is left but this test"
