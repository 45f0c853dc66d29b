"""Prompts that come at once to a llama-server are read one after the other."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server import settings
from server.chat.usage import Usage
from server.engines.binary import find_llama_server
from server.routing.affinity import Prefixes, Sessions
from server.routing.candidate import Candidate
from server.routing.counts import Counts
from server.routing.flight import Flight
from server.routing.needs import Needs
from server.routing.observe import Expected, Observer
from server.routing.reading import ReadingOrder
from server.routing.watched import WatchedInSlot
from tests.integration.fleets import Harbour, berth
from tests.integration.router.world import Asking, Told, World, at_engine, world
from tests.waiting import until

pytestmark = pytest.mark.integration

SLOTS = 3
TEXT = "holdfast " * 40


class Reader:
    """An engine that is taken to be so slow that nothing of a prompt is ever overdue there, and the
    flights of all requests to it."""

    world: World
    here: Candidate

    def __init__(self) -> None:
        self.flights: list[Flight] = []
        self._observer = Observer(SLOTS, Expected(prefill=20.0))
        self._order = ReadingOrder(self._observer, time.monotonic)
        self._rest = Prefixes(8, 8192, 60.0), Counts(), self._order
        for began in (1.0, 31.0, 61.0):
            flight = self._observer.begin(600)
            flight.started(began)
            flight.first(began + 30)
            flight.end(began + 30, Usage(600, 1))

    def begin(self, candidate: Candidate, needs: Needs) -> WatchedInSlot:
        flight = self._observer.begin(needs.prompt_tokens, max_tokens=needs.max_tokens)
        self.flights.append(flight)
        return WatchedInSlot(flight, Sessions(), needs, candidate.name, *self._rest)

    async def ask(self, text: str, tokens: int) -> Told:
        asking = Asking(text, max_tokens=tokens)
        return await self.world.ask(self.world.job([self.here], TEXT, asking=asking))


@pytest_asyncio.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    program = find_llama_server(settings.load(os.environ)).path
    made = Reader()
    async with (
        Harbour(program, tmp_path).fleet(berth("demo", slots=SLOTS)) as fleet,
        world(tmp_path, begin=made.begin) as made.world,
    ):
        await fleet.load("demo")
        made.here = at_engine(fleet.get("demo"))
        yield made


async def test_each_has_its_first_token_before_the_next_is_handed_over(reader: Reader) -> None:
    heard = await asyncio.gather(*(reader.ask(f"{number} {TEXT}", 12) for number in range(SLOTS)))
    assert [one.ending for one in heard] == ["complete"] * SLOTS
    await reader.world.balance(*heard)
    seated = [flight.seated_at or 0.0 for flight in reader.flights]
    firsts = [flight.first_at or 0.0 for flight in reader.flights]
    starts = [flight.started_at or 0.0 for flight in reader.flights]
    assert any(has < begun for has, begun in zip(seated, starts, strict=True))
    for read, begun in zip(firsts, starts[1:], strict=False):
        assert read <= begun


async def test_one_that_leaves_while_it_is_read_lets_the_next_go_on(reader: Reader) -> None:
    first, second = (asyncio.create_task(reader.ask(TEXT, 8)) for _ in range(2))
    await until(lambda: len(reader.flights) == 2 and reader.flights[0].started_at is not None)
    first.cancel()
    heard = [await first, await second]
    assert heard[1].ending == "complete"
    await reader.world.balance(*heard)
