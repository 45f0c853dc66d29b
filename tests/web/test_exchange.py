"""The exchange over a real server and a real client, on a UNIX socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import uvicorn

from server.errors import (
    BudgetExceeded,
    EngineError,
    HoldfastError,
    HubError,
    Overloaded,
    ProviderRefused,
)
from server.routing.headers import LOCAL_ONLY, local_only
from server.web.acceptor import Server
from server.web.exchange import Exchange, Receive, Scope, Send
from server.web.listen import listen_unix

Handler = Callable[[Exchange], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(folder: Path, handler: Handler) -> AsyncIterator[aiohttp.ClientSession]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            await handler(exchange)
        except HoldfastError as error:
            await exchange.fail(error)

    path = folder / "web.sock"
    config = uvicorn.Config(app, lifespan="off", log_config=None, http="httptools", ws="none")
    server = Server(config)
    running = asyncio.create_task(server.serve([listen_unix(path)]))
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession("http://holdfast", connector=connector) as session:
        yield session
    server.should_exit = True
    await running


async def echo(exchange: Exchange) -> None:
    body = await exchange.body(1000)
    await exchange.answer_json({"bytes": len(body), "unix": exchange.over_unix_socket})


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 100, 1000])
async def test_a_body_within_the_limit_is_read_whole(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path, echo) as client:
        for data in (b"x" * size, in_pieces(size)):
            async with client.post("/", data=data) as response:
                assert await response.json() == {"bytes": size, "unix": True}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_larger_body_is_refused_and_the_connection_stays_usable(
    tmp_path: Path, announced: bool
) -> None:
    async with serving(tmp_path, echo) as client:
        data = b"x" * 500_000 if announced else in_pieces(500_000)
        async with client.post("/", data=data) as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "request_too_large"
        async with client.post("/", data=b"x") as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("ä", False)],
)
async def test_a_request_id_is_echoed_if_it_is_harmless(
    tmp_path: Path, given: str, kept: bool
) -> None:
    headers = {"x-request-id": given}
    async with serving(tmp_path, echo) as client, client.post("/", headers=headers) as response:
        answered = response.headers["x-request-id"]
    assert (answered == given) == kept
    assert kept or answered.startswith("req_")


@pytest.mark.parametrize(
    ("said", "private"),
    [
        ((), False),
        (("true",), True),
        (("false",), False),
        (("true", "true"), True),
        (("false", "false"), False),
        (("true", "false"), None),
        (("false", "true"), None),
        (("false", "true", "false"), None),
        (("false", ""), None),
    ],
)
async def test_no_header_takes_back_that_a_request_is_local_only(
    tmp_path: Path, said: tuple[str, ...], private: bool | None
) -> None:
    """None: it is refused."""

    async def tell(exchange: Exchange) -> None:
        await exchange.answer_json(local_only(exchange.headers))

    headers = [("x-other", "a"), *((LOCAL_ONLY, word) for word in said), ("x-other", "b")]
    async with serving(tmp_path, tell) as client, client.get("/", headers=headers) as response:
        assert response.status == (400 if private is None else 200)
        assert private is None or await response.json() is private


async def test_an_error_before_the_answer_has_its_status_and_retry_after(tmp_path: Path) -> None:
    async def busy(exchange: Exchange) -> None:
        raise Overloaded("too busy", retry_after=7)

    async with serving(tmp_path, busy) as client, client.get("/") as response:
        assert response.status == 429
        assert response.headers["retry-after"] == "7"
        assert (await response.json())["error"]["message"] == "Too busy."


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ProviderRefused("the cloud does not take our key"), "false"),
        (BudgetExceeded("all is spent"), "false"),
        (BudgetExceeded("all is spent", retry_after=9), None),
        (EngineError("it broke"), None),
        (HubError("the hub is away"), None),
    ],
)
async def test_what_stays_is_not_to_be_asked_again(
    tmp_path: Path, error: HoldfastError, told: str | None
) -> None:
    async def failing(exchange: Exchange) -> None:
        raise error

    async with serving(tmp_path, failing) as client, client.get("/") as response:
        assert response.headers.get("x-should-retry") == told


async def test_an_error_in_mid_stream_is_the_last_event_and_no_done_follows(
    tmp_path: Path,
) -> None:
    async def breaking(exchange: Exchange) -> None:
        await exchange.comment("waiting")
        await exchange.write(b"data: {}\n\n")
        raise EngineError("it broke")

    async with serving(tmp_path, breaking) as client, client.get("/") as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        events = (await response.text()).split("\n\n")
    assert events[:2] == [": waiting", "data: {}"]
    assert '"engine_error"' in events[2]
    assert events[3:] == [""]


async def test_a_departed_client_cancels_the_work(tmp_path: Path) -> None:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slow(exchange: Exchange) -> None:
        await exchange.body(10)
        exchange.watch_client()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            outcome.set_result("cancelled")
        finally:
            exchange.unwatch_client()

    async with serving(tmp_path, slow) as client:
        with pytest.raises(TimeoutError):
            await client.post("/", data=b"", timeout=aiohttp.ClientTimeout(total=0.2))
        assert await asyncio.wait_for(outcome, 60) == "cancelled"
