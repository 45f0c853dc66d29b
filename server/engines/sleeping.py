"""An engine put to sleep and woken, and whether it is still the same after.

Asleep it keeps its weights in RAM and gives its GPU memory back but for a CUDA context. vLLM has
woken up talking gibberish (vllm#29341), so that it answers one fixed request before it first
serves, and the same one after each wake: another answer means that its weights are not what they
were, and it must be launched anew.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from server.engines.program import Sleep
from server.errors import EngineError

Sample = tuple[object, ...]
"""What the engine said to the fixed request: the tokens and the text of its choices."""

_ANSWER = aiohttp.ClientTimeout(total=120)
_MOVE = aiohttp.ClientTimeout(total=600)  # the weights of the largest model cross PCIe in a minute


async def sample(session: aiohttp.ClientSession, sleep: Sleep) -> Sample:
    """The engine's answer to the fixed request. Raises EngineError if there is none."""
    body = await _post(session, sleep.probe_path, dict(sleep.probe_body), _ANSWER)
    try:
        choices = orjson.loads(body)["choices"]
        return tuple((tuple(one.get("token_ids") or ()), one["text"]) for one in choices)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError("its answer to a fixed request cannot be read", why=str(error)) from error


async def doze(session: aiohttp.ClientSession, sleep: Sleep) -> None:
    """Put the engine to sleep. Raises EngineError if it refuses or breaks."""
    await _post(session, sleep.sleep_path, None, _MOVE)


async def rouse(session: aiohttp.ClientSession, sleep: Sleep, before: Sample) -> None:
    """Wake the engine. Raises EngineError if it does not, or is not what it was `before`."""
    await _post(session, sleep.wake_path, None, _MOVE)
    if await sample(session, sleep) != before:
        raise EngineError(
            "it does not answer as it did before it slept",
            why="a fixed request got other tokens, so its weights did not come back whole",
        )


async def _post(
    session: aiohttp.ClientSession,
    path: str,
    body: dict[str, Any] | None,
    limit: aiohttp.ClientTimeout,
) -> bytes:
    try:
        async with session.post(path, json=body, timeout=limit) as response:
            data = await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise EngineError(f"it did not answer {path.partition('?')[0]}", why=why) from error
    if response.status != 200:
        raise EngineError(f"it answered {path.partition('?')[0]} with status {response.status}")
    return data
