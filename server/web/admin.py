"""Routes for operators and their tools: is it alive, is it ready, what runs, what is to run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from server.chat import parse_json
from server.engines.fleet import Fleet
from server.engines.member import Member
from server.engines.planned import planned_berths
from server.engines.program import Reserved
from server.errors import RequestError
from server.web.exchange import Exchange

_BODY = 4 * 1024**2
"""Bytes; a plan for eight sizes in every build has some hundred thousand."""
_METRICS = 1.0
"""Seconds for an engine to be looked at; a busy one tells its counters between two steps."""


async def livez(exchange: Exchange) -> None:
    """GET /livez: the process answers."""
    await exchange.answer_json({"status": "live"})


class Admin:
    """`serving` tells whether new requests are still taken."""

    def __init__(self, fleet: Fleet, serving: Callable[[], bool]) -> None:
        self._fleet = fleet
        self._serving = serving

    async def readyz(self, exchange: Exchange) -> None:
        """GET /readyz: 200 once every engine that is to run is ready, 503 before that, when one
        has failed, and while draining."""
        members = self._fleet.members.values()
        ready = self._serving() and all(member.in_order for member in members)
        body: dict[str, Any] = {
            "status": "ready" if ready else "not ready",
            "engines": {member.name: member.engine.state.value for member in members},
        }
        await exchange.answer_json(body, 200 if ready else 503)

    async def ps(self, exchange: Exchange) -> None:
        """GET /admin/ps, on the admin socket: every engine, what it holds and does."""
        engines = await asyncio.gather(*map(_told, self._fleet.members.values()))
        await exchange.answer(200, orjson.dumps({"engines": engines}, default=str))

    async def load(self, exchange: Exchange) -> None:
        """POST /admin/load {"model": name}: answers when it is ready, or why it cannot be."""
        member = await self._fleet.load(await _name(exchange))
        await exchange.answer(200, orjson.dumps(await _told(member), default=str))

    async def unload(self, exchange: Exchange) -> None:
        """POST /admin/unload {"model": name}: answers when what ran has finished and it is gone."""
        member = await self._fleet.unload(await _name(exchange))
        await exchange.answer(200, orjson.dumps(await _told(member), default=str))

    async def apply(self, exchange: Exchange) -> None:
        """POST /admin/plan/apply with a plan: have it run. Answers with the actions that this
        takes, in order; with `?dry_run=1` that is all."""
        values = parse_json(await exchange.body(_BODY))
        rig = await self._fleet.look()
        berths, capacity = planned_berths(values, rig), rig.pools()
        actions = self._fleet.actions(berths, capacity)
        if b"dry_run=1" not in exchange.scope.get("query_string", b"").split(b"&"):
            self._fleet.apply(berths, capacity)
        await exchange.answer_json({"actions": [asdict(action) for action in actions]})


def _by_device(taken: Reserved) -> dict[str, int]:
    found: dict[str, int] = {}
    for (device, _), size in taken.items():
        found[device] = found.get(device, 0) + size
    return found


async def _name(exchange: Exchange) -> str:
    name = parse_json(await exchange.body(_BODY)).get("model")
    if not isinstance(name, str):
        raise RequestError(
            "no model is named", next_step='Send {"model": "qwen3.5-9b"}', param="model"
        )
    return name


async def _told(member: Member) -> dict[str, Any]:
    """A member as `ps` tells it."""
    engine, berth = member.engine, member.berth
    work = taken = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_METRICS):
            taken = await engine.taken()
            work = await engine.work()
    return asdict(engine.status()) | {
        "name": member.name,
        "build": berth.deployment.build,
        "deployment": berth.deployment.to_dict(),
        "engine": berth.deployment.engine,
        "devices": sorted(berth.devices),
        "residency": berth.residency,
        "pinned": berth.pin,
        "predicted": dict(berth.needs),
        "actual": None if taken is None else _by_device(taken),
        "waits_for": member.waits_for or None,
        "steps_down": member.steps,
        "requests": member.usage.requests,
        "idle": member.idle,
        "ttl": berth.ttl,
        "load_seconds": member.tenure.load_seconds if member.tenure.ready_since else None,
        "prefill": work and work.prefill,
        "decode": work and work.decode,
        "last_error": None if member.error is None else member.error.sentence,
    }
