"""The request log, over a real book, egress and socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from server.catalogue.cloud import KeySource
from server.catalogue.router import RequestLog, Router
from server.ledger.admission import Admission
from server.ledger.book import Book
from server.ledger.schema import connect
from server.providers.egress import Egress
from server.providers.secrets import Keyring
from server.routing.attempt import Patience
from server.routing.breaker import Breakers, Rule
from server.routing.means import Means
from server.routing.request_log import RequestLogger
from server.routing.retry import RetryBudget
from tests.fakes.raw_http import RawServer, Step, raw_server, reply
from tests.ledger.money import NOON, entry

TOKEN = "collector-canary-1"
FINE = [reply(b"{}")]
BUSY = [reply(b"no", "503 Service Unavailable")]


class World:
    """A logger and what it works with; `router` may be exchanged, as by a reload."""

    def __init__(self, folder: Path, url: str) -> None:
        key = KeySource(env="COLLECTOR")
        self.router = Router(request_log=RequestLog(f"{url}/in/holdfast", key))
        self.book = Book(folder / "book.db", lambda: NOON)
        self.egress = Egress(Keyring({"COLLECTOR": TOKEN}).key_of, {}, connect_timeout=20)
        self.logger = RequestLogger(lambda: self.means, every=0.01)

    @property
    def means(self) -> Means:
        return Means(
            router=self.router,
            providers={},
            protocols={},
            egress=self.egress,
            book=self.book,
            breakers=Breakers(Rule()),
            budget=RetryBudget(0.2),
            admission=Admission(),
            patience=Patience(1, 1),
        )

    def left(self) -> list[tuple[Any, ...]]:
        with contextlib.closing(connect(self.book.path, read_only=True)) as book:
            return book.execute("SELECT request_id, host, bytes FROM egress").fetchall()


@contextlib.asynccontextmanager
async def world(
    folder: Path, answers: Sequence[Sequence[Step]] = (FINE,)
) -> AsyncIterator[tuple[World, RawServer]]:
    async with raw_server(*answers) as server:
        made = World(folder, server.url)
        await made.book.start()
        try:
            yield made, server
        finally:
            await made.egress.close()
            await made.book.close()


def posted(server: RawServer) -> list[list[dict[str, Any]]]:
    bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    return [orjson.loads(body)["entries"] for body in bodies]


async def test_entries_are_posted_in_a_batch_with_the_key(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, server):
        for number in range(3):
            there.logger(entry(number, 5, f"r{number}"))
        assert await there.logger.deliver()
        (batch,) = posted(server)
        head = server.requests[0].partition(b"\r\n\r\n")[0].decode().lower()
        assert head.startswith("post /in/holdfast http/1.1")
        assert f"authorization: bearer {TOKEN}" in head
        assert [one["request_id"] for one in batch] == ["r0", "r1", "r2"]
        assert (batch[2]["cost"], batch[2]["usage"]["prompt_tokens"]) == (2, 5)
        (row,) = there.left()
        assert row[0] == "request-log-1"
        assert row[1].startswith("127.0.0.1:")
        assert row[2] == len(server.requests[0].partition(b"\r\n\r\n")[2])


async def test_nothing_is_said_of_a_local_only_request(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, server):
        there.logger(replace(entry(name="secret"), private=True))
        there.logger(entry(name="public"))
        assert await there.logger.deliver()
        assert [[one["request_id"] for one in batch] for batch in posted(server)] == [["public"]]


@pytest.mark.parametrize("when", ["from the beginning", "later"])
async def test_with_clouds_switched_off_no_connection_is_made(tmp_path: Path, when: str) -> None:
    async with world(tmp_path) as (there, server):
        if when == "later":
            there.logger(entry())
        there.router = replace(there.router, cloud=False)
        there.logger(entry())
        assert await there.logger.deliver()
        assert (server.connections, there.left()) == (0, [])
        there.router = replace(there.router, cloud=True)
        assert await there.logger.deliver()
        assert server.connections == 0, "what was forgotten stays forgotten"


async def test_what_cannot_be_delivered_is_tried_again_in_its_order(tmp_path: Path) -> None:
    async with world(tmp_path, [BUSY, BUSY, FINE]) as (there, server):
        there.logger(entry(name="first"))
        assert not await there.logger.deliver()
        there.logger(entry(name="second"))
        running = asyncio.ensure_future(there.logger.run())
        while len(server.requests) < 3:
            await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        last = posted(server)[-1]
        assert [one["request_id"] for one in last] == ["first", "second"]


async def test_a_batch_that_is_never_taken_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path, [[reply(b"", "400 Bad Request")], FINE]) as (there, server):
        there.logger(entry(name="wrong"))
        assert await there.logger.deliver()
        assert "answers 400 to a batch, which is dropped" in caplog.text
        there.logger(entry(name="right"))
        assert await there.logger.deliver()
        assert [one["request_id"] for one in posted(server)[-1]] == ["right"]


async def test_a_bug_of_ours_costs_its_batch_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as (there, server):
        there.logger(replace(entry(name="wrong"), reason="\ud800"))  # no JSON can hold that
        assert await there.logger.deliver()
        assert "the request log: a bug, by which 1 are dropped" in caplog.text
        there.logger(entry(name="right"))
        assert await there.logger.deliver()
        assert [[one["request_id"] for one in batch] for batch in posted(server)] == [["right"]]


async def test_what_waits_at_the_end_is_delivered(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, server):
        there.logger(entry(name="last"))
        await there.logger.close()
        assert [[one["request_id"] for one in batch] for batch in posted(server)] == [["last"]]


async def test_where_nobody_listens_the_newest_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        async with world(tmp_path) as (there, server):
            log = there.router.request_log
            assert log is not None
            nobody = replace(log, url=f"http://127.0.0.1:{closed.getsockname()[1]}/in")
            there.router = replace(there.router, request_log=nobody)
            for number in range(10_050):
                there.logger(entry(name=f"r{number}"))
            assert not await there.logger.deliver()
            there.router = replace(there.router, request_log=log)
            assert await there.logger.deliver()
            names = [one["request_id"] for batch in posted(server) for one in batch]
            assert len(names) == 10_000
            assert names == [f"r{number}" for number in range(50, 10_050)]


async def test_when_the_ledger_cannot_be_written_nothing_leaves(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, server):
        there.book = Book(tmp_path / "never-opened" / "book.db")
        there.logger(entry())
        assert not await there.logger.deliver()
        assert server.connections == 0
