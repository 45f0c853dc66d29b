"""Engines of the tests' own: what is asked of them, and how their end is awaited."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest

from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.restart import Policy
from server.errors import HoldfastError

Make = Callable[..., Engine]

CONTEXT = 1024
QUICK = Policy(first=0.05, longest=0.2, exits=3)
PROMPT = "canary-prompt tell me something"
PATIENCE = 60.0
"""Seconds in which whatever is to happen happens, however strained the machine is."""


async def complete(engine: Engine, tokens: int, *, stream: bool = False) -> aiohttp.ClientResponse:
    """The response to a request for exactly `tokens` tokens, or as many as the context holds."""
    body = {"prompt": PROMPT, "n_predict": tokens, "ignore_eos": True, "stream": stream}
    return await engine.session.post("/completion", json=body)


async def answer(engine: Engine) -> int:
    """The status of a short request that waits for a slot first, as every request does."""
    async with engine.queue.acquire("client"), await complete(engine, 2) as response:
        return response.status


async def failed(engine: Engine, kind: type[HoldfastError]) -> HoldfastError:
    """The error with which the engine fails."""
    with pytest.raises(kind) as caught:
        await engine.wait_ready(PATIENCE)
    assert engine.state is State.FAILED
    return caught.value
