"""What is waited for, and for how long, over real sockets; the limits are short, and what is
asserted is what ends the wait, never how long it took."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from server.routing.progress import WebAnswer
from tests.fakes.raw_http import CLOSE, END, STREAM, RawServer, Step, chunk, raw_server

LIMIT = 0.4


class Marked(WebAnswer):
    """Its progress is what the test says."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self.marked = 0
        self.looks = 0
        self.work: Callable[[int], object | None] = lambda looks: None
        self._given = limit

    def mark(self) -> int:
        return self.marked

    def limit(self) -> float:
        return self._given

    async def look(self) -> object | None:
        self.looks += 1
        return self.work(self.looks)


class Reading:
    """An `Answer` from that server."""

    def __init__(
        self, server: RawServer, session: aiohttp.ClientSession, limit: float = LIMIT
    ) -> None:
        self._server = server
        self._session = session
        self.answer = Marked(limit)

    async def open(self) -> None:
        await self.answer.open(self._session.post(self._server.url))


@contextlib.asynccontextmanager
async def reading(*steps: Step, limit: float = LIMIT) -> AsyncIterator[Reading]:
    async with raw_server(steps) as server, aiohttp.ClientSession() as session:
        made = Reading(server, session, limit)
        try:
            yield made
        finally:
            made.answer.close()


async def test_an_answer_is_read_to_its_end() -> None:
    async with reading(STREAM, chunk(b"a"), chunk(b"bc"), END) as one:
        await one.open()
        assert await one.answer.body() == b"abc"


async def test_a_part_of_it_is_enough() -> None:
    async with reading(STREAM, chunk(b"abcdef"), asyncio.Event()) as one:
        await one.open()
        assert await one.answer.body(4) == b"abcd"


async def test_a_head_that_never_comes_is_given_up() -> None:
    async with reading(asyncio.Event()) as one:
        with pytest.raises(TimeoutError):
            await one.open()
        assert one.answer.looks >= 3


@pytest.mark.parametrize("ping", [b": ping\n\n", b"data: {}\n\n"])
async def test_bytes_that_are_no_progress_keep_nothing_alive(ping: bytes) -> None:
    pings: list[Step] = [chunk(ping), LIMIT / 10] * 1000
    async with reading(STREAM, *pings) as one:
        await one.open()
        with pytest.raises(TimeoutError):
            await one.answer.body()


async def test_what_makes_progress_may_take_any_time() -> None:
    tokens: list[Step] = [chunk(b"a"), 0.2] * 13
    async with reading(STREAM, *tokens, END, limit=2.0) as one:
        await one.open()
        while await one.answer.read():
            one.answer.marked += 1


async def test_a_long_prefill_is_not_cut_off() -> None:
    """The engine says nothing for many limits, but its counters go on; then the head comes."""
    computed = asyncio.Event()

    def work(looks: int) -> object:
        if looks == 20:
            computed.set()
        return looks

    async with reading(computed, STREAM, chunk(b"a"), END) as one:
        one.answer.work = work
        await one.open()
        assert await one.answer.body() == b"a"
        assert one.answer.looks >= 20, "five limits, in quarters"


@pytest.mark.parametrize("said", [None, "always the same"])
async def test_an_engine_that_computes_nothing_is_given_up(said: object | None) -> None:
    async with reading(STREAM, chunk(b"a"), asyncio.Event()) as one:
        one.answer.work = lambda looks: said
        await one.open()
        with pytest.raises(TimeoutError):
            await one.answer.body()


async def test_the_readers_own_time_does_not_count() -> None:
    async with reading(STREAM, chunk(b"a"), asyncio.Event()) as one:
        await one.open()
        await one.answer.read()
        before = one.answer.looks
        await asyncio.sleep(3 * LIMIT)  # a client that is slow to read
        assert one.answer.looks == before


async def test_a_connection_that_breaks_is_told_as_such() -> None:
    async with reading(STREAM, chunk(b"a"), CLOSE) as one:
        await one.open()
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await one.answer.body()


async def test_who_closes_it_closes_the_connection() -> None:
    async with raw_server([STREAM, asyncio.Event()]) as server, aiohttp.ClientSession() as session:
        one = Reading(server, session)
        await one.open()
        one.answer.close()
        await asyncio.wait_for(server.gone.wait(), 60)
