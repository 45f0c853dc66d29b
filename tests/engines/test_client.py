"""HTTP to an engine over real sockets: what comes, what is kept open, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.engines.client import EngineClient, EngineResponse
from tests.fakes.raw_http import CLOSE, END, KEEP, STREAM, RawServer, Step, chunk

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
ABC = HEAD % 3 + b"abc"


@contextlib.asynccontextmanager
async def engine(
    folder: Path, *answers: list[Step]
) -> AsyncIterator[tuple[RawServer, EngineClient]]:
    path = folder / "s"
    served = RawServer(answers)
    server = await asyncio.start_unix_server(served.serve, path)
    client = EngineClient(path)
    try:
        yield served, client
    finally:
        client.close()
        server.close()


async def whole(response: EngineResponse) -> bytes:
    pieces = []
    await response.head()
    while piece := await response.read():
        pieces.append(piece)
    return b"".join(pieces)


async def test_a_request_goes_out_whole_and_its_answer_comes_back(tmp_path: Path) -> None:
    async with engine(tmp_path, [ABC, KEEP]) as (served, client):
        response = await client.post("/v1/x", b'{"a":1}')
        assert await whole(response) == b"abc"
        assert (response.status, response.total_bytes) == (200, 3)
        head, _, body = served.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/x HTTP/1.1\r\n")
        assert b"\r\ncontent-length: 7" in head
        assert b"\r\nconnection: close" not in head
        assert body == b'{"a":1}'


async def test_a_connection_serves_one_request_after_the_other(tmp_path: Path) -> None:
    async with engine(tmp_path, [ABC, KEEP]) as (served, client):
        for _ in range(3):
            assert await whole(await client.post("/", b"{}")) == b"abc"
        assert served.connections == 1
        both = await client.post("/", b"{}"), await client.post("/", b"{}")
        assert [await whole(one) for one in both] == [b"abc", b"abc"]
        assert served.connections == 2


@pytest.mark.parametrize("split", range(1, len(ABC)))
async def test_an_answer_may_come_in_any_pieces(tmp_path: Path, split: int) -> None:
    async with engine(tmp_path, [ABC[:split], 0.001, ABC[split:], KEEP]) as (_, client):
        assert await whole(await client.post("/", b"{}")) == b"abc"


async def test_a_stream_comes_as_it_is_written(tmp_path: Path) -> None:
    more = asyncio.Event()
    async with engine(tmp_path, [STREAM, chunk(b"a"), more, chunk(b"b"), END]) as (served, client):
        response = await client.post("/", b"{}", once=True)
        await response.head()
        assert await response.read() == b"a"
        more.set()
        assert await response.read() == b"b"
        assert await response.read() == b""
        assert b"\r\nconnection: close" in served.requests[0]
        assert await whole(await client.post("/", b"{}")) == b"ab"
        assert served.connections == 2


async def test_who_reads_slowly_holds_the_engine_up(tmp_path: Path) -> None:
    """Of a stream without an end so much is held as is said, and not all that is sent."""
    piece = chunk(b"x" * 65536)
    async with engine(tmp_path, [STREAM, *[piece] * 200, CLOSE]) as (_, client):
        response = await client.post("/", b"{}")
        await response.head()
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert response.unread <= 1 << 20
        with pytest.raises(ConnectionError):
            await whole(response)
        assert response.total_bytes > 2 << 20


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", HEAD % 3, HEAD % 3 + b"ab"])
async def test_an_engine_that_dies_is_told_as_such(tmp_path: Path, said: bytes) -> None:
    async with engine(tmp_path, [said, CLOSE]) as (_, client):
        with pytest.raises(ConnectionError):
            await whole(await client.post("/", b"{}"))


@pytest.mark.parametrize("said", [b"what?\r\n\r\n", HEAD % 3 + b"abcHTTP/1.1 200 OK\r\n\r\n"])
async def test_what_is_no_http_ends_the_connection(tmp_path: Path, said: bytes) -> None:
    async with engine(tmp_path, [said, KEEP], [ABC, KEEP]) as (served, client):
        with contextlib.suppress(ConnectionError):
            assert await whole(await client.post("/", b"{}")) == b"abc"
        assert await whole(await client.post("/", b"{}")) == b"abc"
        assert served.connections == 2


async def test_an_engine_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        await EngineClient(tmp_path / "s").post("/", b"{}")


async def test_who_closes_an_answer_closes_its_connection(tmp_path: Path) -> None:
    async with engine(tmp_path, [STREAM, chunk(b"a"), asyncio.Event()]) as (served, client):
        response = await client.post("/", b"{}")
        await response.head()
        response.close()
        await asyncio.wait_for(served.gone.wait(), 10)


async def test_one_that_was_read_to_its_end_may_be_closed(tmp_path: Path) -> None:
    async with engine(tmp_path, [ABC, KEEP]) as (served, client):
        for _ in range(2):
            response = await client.post("/", b"{}")
            await whole(response)
            response.close()
        assert served.connections == 1


async def test_who_waits_can_be_interrupted(tmp_path: Path) -> None:
    async with engine(tmp_path, [asyncio.Event()]) as (_, client):
        response = await client.post("/", b"{}")
        asyncio.get_running_loop().call_soon(response.fail, TimeoutError("no progress"))
        with pytest.raises(TimeoutError):
            await response.head()


async def test_with_the_engine_all_ends(tmp_path: Path) -> None:
    async with engine(tmp_path, [STREAM, asyncio.Event()]) as (_, client):
        response = await client.post("/", b"{}")
        await response.head()
        client.close()
        with pytest.raises(ConnectionError):
            await response.read()
        with pytest.raises(ConnectionError):
            await client.post("/", b"{}")
