"""Requests at once, with faults, targets, hedges and departures drawn by lot: however they go, each
ends in exactly one way, is written down once and charged for what it did, and the ledger balances.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue.cloud import Kind
from server.catalogue.router import Limits
from server.ledger.account import Account, Party
from tests.fakes.cloud_running import FakeCloud
from tests.fakes.faults import PLACES
from tests.integration.router.conftest import PROGRAMS
from tests.integration.router.world import (
    ASK,
    ROUTER,
    TEXT,
    Told,
    World,
    at_cloud,
    cloud_model,
    world,
)

pytestmark = pytest.mark.integration

REQUESTS = 40
FAULTS = (
    "429",
    "429 retry_after=1",
    "quota",
    "500",
    "529",
    "cut",
    "half-chunk",
    "bad-json",
    "short",
    "slow seconds=3",
    "drip seconds=0.001",
)
CANDIDATES = [at_cloud(cloud_model(kind, name)) for kind in PROGRAMS for name in ("a", "b")]


async def one(there: World, dice: random.Random, account: Account) -> Told:
    text = ASK
    if dice.random() < 0.6:
        text += f"\n#fake fault {dice.choice(FAULTS)} at={dice.choice(PLACES)}"
    attempts = dice.sample(CANDIDATES, dice.randint(1, 3))
    hedge = dice.choice((None, None, 0.0, 0.05))
    job = there.job(attempts, text, account=account, hedge_after=hedge)
    asking = asyncio.create_task(there.ask(job, leave=dice.random() < 0.1))
    if dice.random() < 0.15:
        await asyncio.sleep(dice.uniform(0, 0.3))
        asking.cancel()
    return await asking


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens(tmp_path: Path, clouds: dict[Kind, FakeCloud], seed: int) -> None:
    dice = random.Random(seed)
    router = replace(ROUTER, retries=2, retry_budget=1.0, breaker_pause=0.2,
                     first_token_timeout=1.0, token_timeout=1.0)  # fmt: skip
    limits = Limits(day=10**9, concurrency=100)
    account = Account((Party("key", "k", limits), Party("all", "", Limits())))
    async with world(tmp_path, clouds, router=router) as there:
        told = await asyncio.gather(
            *(one(there, random.Random(dice.random()), account) for _ in range(REQUESTS))
        )
        endings = Counter(each.ending for each in told)
        assert sum(endings.values()) == REQUESTS
        for each in told:
            assert TEXT.startswith(each.text)
            assert each.ending != "complete" or each.text == TEXT
        await there.balance(*told)
    assert endings["complete"], "or the lots say nothing"
    assert endings["error"]
    finals = {entry.request_id: entry.outcome for entry in there.entries if entry.final}
    assert len(finals) == REQUESTS
    ways = {"complete": "answered", "error": "failed", "left": "left"}
    for each in told:
        # Who leaves with the last word, or with the error, is written down as the one or the other.
        assert finals[each.request_id] in (ways[each.ending], "left")
