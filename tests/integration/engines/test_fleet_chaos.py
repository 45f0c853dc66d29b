"""A fleet under clients, kills, plans and wishes at random: whatever happens, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from server.engines.berth import Berth
from server.engines.fleet import Fleet
from server.engines.lifecycle import State
from server.engines.member import Member
from server.errors import HoldfastError, ModelNotFound
from server.routing.attempt import Attempt, Patience
from tests.integration.fleets import Harbour, berth
from tests.waiting import until

pytestmark = pytest.mark.integration

SEEDS = (1, 17)
NAMES = ("a", "b", "c")
CAPACITY = 10


def plan(dice: random.Random) -> list[Berth]:
    """Some of the models, of any size: what is launched alike takes alike."""
    return [
        berth(
            name,
            size := dice.choice((3, 4, 7)),
            context=256 * size,
            residency=dice.choice(("resident", "on demand")),
            slots=dice.choice((1, 2)),
            ttl=dice.choice((None, 0.2)),
            load_seconds=0.1,
        )
        for name in NAMES
        if name == "a" or dice.random() < 0.8
    ]


async def client(fleet: Fleet, dice: random.Random, told: list[int | str]) -> None:
    for _ in range(12):
        try:
            member = fleet.get(dice.choice(NAMES))
        except ModelNotFound:
            await asyncio.sleep(0.05)
            continue
        asking = answered(member, dice.randint(1, 60), str(id(told)))
        patience = dice.choice((0.1, 120, 120))
        try:
            told.append(await asyncio.wait_for(asking, patience))
        except TimeoutError:
            assert patience < 120, "nobody waits for ever"
            told.append("left")
        except HoldfastError as error:
            told.append(type(error).__name__)


async def answered(member: Member, tokens: int, client: str) -> int:
    """As the endpoint asks: once more where no byte of an answer was seen."""
    body = {"prompt": "tell me", "n_predict": tokens, "ignore_eos": True}
    patience = Patience(120, 120)
    async with Attempt(
        member, "/completion", body, client=client, slots=1, patience=patience
    ) as attempt:
        return len(await attempt.whole())


async def trouble(fleet: Fleet, dice: random.Random, harbour: Harbour) -> None:
    for _ in range(10):
        await asyncio.sleep(dice.uniform(0.05, 0.3))
        pids = [pid for engine in harbour.made if (pid := engine.status().pid)]
        kind = dice.choice(("kill", "plan", "load", "unload"))
        with contextlib.suppress(HoldfastError, ProcessLookupError, TimeoutError):
            if kind == "kill" and pids:
                os.kill(dice.choice(pids), signal.SIGKILL)
            elif kind == "plan":
                fleet.apply(plan(dice))
            elif kind == "load":
                await asyncio.wait_for(fleet.load(dice.choice(NAMES)), 20)
            elif kind == "unload":
                await asyncio.wait_for(fleet.unload(dice.choice(NAMES)), 20)


async def overseer(fleet: Fleet, harbour: Harbour) -> None:
    """Memory is never promised twice, whatever is on its way."""
    while True:
        held = sum(sum(one.holds.values()) for m in everybody(fleet) for one in m.occupants())
        assert held <= CAPACITY
        await asyncio.sleep(0.001)


def everybody(fleet: Fleet) -> list[Member]:
    return fleet._roster.everybody()


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens(program: Path, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    harbour = Harbour(program, tmp_path)
    async with harbour.fleet(*plan(dice), ram=CAPACITY) as fleet:
        watching = asyncio.create_task(overseer(fleet, harbour))
        told: list[list[int | str]] = [[] for _ in range(6)]
        clients = [client(fleet, random.Random(seed * 100 + n), t) for n, t in enumerate(told)]
        await asyncio.wait_for(asyncio.gather(trouble(fleet, dice, harbour), *clients), 240)
        assert not watching.done(), watching.exception()
        watching.cancel()
        answers = [answer for one in told for answer in one]
        assert sum(isinstance(answer, int) for answer in answers) > len(answers) / 3
        await asyncio.wait_for(fleet.settled(), 60)
        await until(
            lambda: all(not m.queue.running and not m.queue.waiting for m in everybody(fleet))
        )
        fleet.apply([berth("a", 3)])
        if fleet.get("a").engine.state is State.FAILED:
            await fleet.load("a")
        assert await asyncio.wait_for(answered(fleet.get("a"), 4, "last"), 60)
