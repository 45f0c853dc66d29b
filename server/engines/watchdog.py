"""Finds engines that hang: alive, ready, and answering nobody."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.errors import EngineError
from server.units import format_duration


@dataclass(frozen=True, slots=True)
class Watchdog:
    every: float = 5.0
    """Seconds between looks at an engine."""
    patience: float = 30.0
    """Seconds for which a ready engine may not answer its health check. The engines answer it on
    threads that do not compute, within milliseconds, however busy they are."""

    async def watch(self, engine: Engine) -> None:
        """Have `engine` launched anew whenever it hangs. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(self.every)
            if engine.state is State.READY and await self._hangs(engine):
                engine.replace(
                    f"it did not answer its health check for {format_duration(self.patience)}"
                )

    async def _hangs(self, engine: Engine) -> bool:
        limit = aiohttp.ClientTimeout(total=self.patience)
        try:
            async with engine.session.get(engine.launch.health_path, timeout=limit):
                return False
        except TimeoutError:
            return engine.state is State.READY
        except (aiohttp.ClientError, OSError, EngineError):
            return False  # it is gone: its supervisor knows
