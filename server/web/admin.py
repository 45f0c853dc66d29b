"""Routes for operators and their tools: is it alive, is it ready, what runs, what is to run.

`load` and `unload` take as long as they take. With `?follow=1` they answer in server-sent events
from when it takes longer than a moment: `{"doing": words, "progress": 0 to 1 or null, "stage":
words or null}` whenever that changes, at the end `{"done": what they otherwise answer}`, or the
error that they otherwise answer. Who leaves changes nothing: what was asked for goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from server.catalogue.changes import Change
from server.chat import parse_json
from server.chat.sse import sse_event
from server.engines.fleet import Fleet
from server.engines.member import Member
from server.engines.planned import planned_berths
from server.engines.program import Reserved
from server.errors import Forbidden, RequestError
from server.metrics import CONTENT_TYPE
from server.routing.explain import read_question
from server.routing.router import Router
from server.web.auth import Client
from server.web.exchange import Exchange

_BODY = 4 * 1024**2
"""Bytes; a plan for eight sizes in every build has some hundred thousand."""
_METRICS = 1.0
"""Seconds for an engine to be looked at; a busy one tells its counters between two steps."""
_FOLLOW = 0.2
"""Seconds between looks at one that is followed."""


async def livez(exchange: Exchange) -> None:
    """GET /livez: the process answers."""
    await exchange.answer_json({"status": "live"})


class Admin:
    """`serving` tells whether new requests are still taken; `reload` reads the
    configuration, `metrics` renders what is counted."""

    def __init__(
        self,
        fleet: Fleet,
        serving: Callable[[], bool],
        reload: Callable[[], Awaitable[Sequence[Change]]],
        metrics: Callable[[], bytes],
        router: Router,
    ) -> None:
        self._fleet = fleet
        self._serving = serving
        self._reload = reload
        self._metrics = metrics
        self._router = router

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

    async def metrics(self, exchange: Exchange, client: Client) -> None:
        """GET /metrics, in Prometheus' text format; where there are keys, for those of admins: it
        tells what all of them spend."""
        if client.key is not None and client.key.role != "admin":
            raise Forbidden(
                f"the key {client.key.id} may not read the metrics",
                why="its role is user",
                next_step=f"`holdfast keys set {client.key.id} --role admin` lets it",
            )
        kind = (b"content-type", CONTENT_TYPE.encode())
        await exchange.answer(200, self._metrics(), kind=kind)

    async def ps(self, exchange: Exchange) -> None:
        """GET /admin/ps, on the admin socket: every engine, what it holds and does, and whether it
        is left alone just now, as are some clouds, and how the ledger is."""
        router = self._router
        engines = [
            one | {"left_alone": router.breakers.down(one["build"]) or None}
            for one in await asyncio.gather(*map(_told, self._fleet.members.values()))
        ]
        clouds = [
            {"name": model.id, "down": down, "last_error": router.breakers[model.id].reason}
            for model in router.clouds()
            if (down := router.breakers.down(model.id))
        ]
        told = {"engines": engines, "clouds": clouds, "ledger": asdict(router.book.health)}
        await exchange.answer(200, orjson.dumps(told, default=str))

    async def load(self, exchange: Exchange) -> None:
        """POST /admin/load {"model": name}: answers when it is ready, or why it cannot be."""
        member = self._fleet.get(await _name(exchange))
        await _follow(exchange, self._fleet.load(member.name), lambda: _loading(member))

    async def unload(self, exchange: Exchange) -> None:
        """POST /admin/unload {"model": name}: answers when what ran has finished and it is gone."""
        member = self._fleet.get(await _name(exchange))
        await _follow(exchange, self._fleet.unload(member.name), lambda: _unloading(member))

    async def reload(self, exchange: Exchange) -> None:
        """POST /admin/reload: read the configuration again, all or nothing; what has changed."""
        found = await self._reload()
        told = [asdict(change) | {"sentence": change.sentence} for change in found]
        await exchange.answer_json({"changes": told})

    async def explain(self, exchange: Exchange) -> None:
        """POST /admin/route/explain: where a request would go, and why; see routing/explain.py."""
        question = read_question(parse_json(await exchange.body(_BODY)))
        await exchange.answer_json(self._router.explain(question))

    async def apply(self, exchange: Exchange) -> None:
        """POST /admin/plan/apply with a plan: have it run. Answers with the actions that this
        takes, in order; with `?dry_run=1` that is all."""
        values = parse_json(await exchange.body(_BODY))
        rig = await self._fleet.look()
        berths, capacity = planned_berths(values, rig), rig.pools()
        actions = self._fleet.actions(berths, capacity)
        if not _has(exchange, b"dry_run=1"):
            self._fleet.apply(berths, capacity)
        await exchange.answer_json({"actions": [asdict(action) for action in actions]})


async def _follow(
    exchange: Exchange, work: Coroutine[None, None, Member], look: Callable[[], dict[str, Any]]
) -> None:
    """Answer with what `work` makes of a member, and until then with what there is to see of it,
    where that was asked for."""
    working = asyncio.ensure_future(work)
    exchange.watch_client()
    seen: dict[str, Any] | None = None
    every = _FOLLOW if _has(exchange, b"follow=1") else None
    try:
        while not (await asyncio.wait({working}, timeout=every))[0]:
            if (now := look()) != seen:
                await exchange.begin_stream()
                await exchange.write(sse_event(now))
                seen = now
        told = orjson.dumps(await _told(working.result()), default=str)
    finally:
        exchange.unwatch_client()
        working.cancel()
    if exchange.started:
        await exchange.write(sse_event({"done": orjson.Fragment(told)}))
        await exchange.end_stream()
    else:
        await exchange.answer(200, told)


def _loading(member: Member) -> dict[str, Any]:
    status = member.engine.status()
    return {"doing": member.awaits, "progress": status.progress, "stage": status.stage}


def _unloading(member: Member) -> dict[str, Any]:
    doing = f"{member.name} finishes what runs: {member.queue.running} slots in use"
    return {"doing": doing, "progress": None, "stage": None}


def _has(exchange: Exchange, option: bytes) -> bool:
    return option in exchange.scope.get("query_string", b"").split(b"&")


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
