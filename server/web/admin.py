"""Routes for operators and their tools: is it alive, is it ready, what runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from server.engines.fleet import Fleet
from server.engines.lifecycle import State
from server.web.exchange import Exchange


async def livez(exchange: Exchange) -> None:
    """GET /livez: the process answers."""
    await exchange.answer_json({"status": "live"})


class Admin:
    """`serving` tells whether new requests are still taken."""

    def __init__(self, fleet: Fleet, serving: Callable[[], bool]) -> None:
        self._fleet = fleet
        self._serving = serving

    async def readyz(self, exchange: Exchange) -> None:
        """GET /readyz: 200 once every engine is ready, 503 before that and while draining."""
        states = {status.name: status.state for status in self._fleet.status()}
        ready = self._serving() and all(state is State.READY for state in states.values())
        body: dict[str, Any] = {
            "status": "ready" if ready else "not ready",
            "engines": {name: state.value for name, state in states.items()},
        }
        await exchange.answer_json(body, 200 if ready else 503)

    async def ps(self, exchange: Exchange) -> None:
        """GET /admin/ps, on the admin socket: every engine, what it holds and does."""
        engines = [asdict(status) for status in self._fleet.status()]
        await exchange.answer(200, orjson.dumps({"engines": engines}, default=str))
