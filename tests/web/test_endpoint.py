from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import uvloop

from server.errors import ConfigError
from server.ledger.keys import KeyBook
from server.web.app import App, Routes
from server.web.endpoint import Endpoint, base_url, check_exposure
from server.web.exchange import Exchange
from server.web.listen import listen


def test_the_network_needs_a_key(tmp_path: Path) -> None:
    book = KeyBook(tmp_path / "keys.json")
    check_exposure("127.0.0.1", book)
    with pytest.raises(ConfigError, match=r"without an API key.*holdfast keys create"):
        check_exposure("0.0.0.0", book)
    book.create("laptop")
    check_exposure("0.0.0.0", book)


def test_the_address_that_it_tells_can_be_used() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        assert base_url(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
    with contextlib.closing(listen("0.0.0.0", 0)) as sock:
        assert base_url(sock) == f"http://{socket.gethostname()}:{sock.getsockname()[1]}"


@pytest.fixture
def as_before() -> Iterator[None]:
    """What serving changes in its own process is taken back."""
    thresholds, files = gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


class Slow:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self.begun.set()
        await self.go.wait()
        await exchange.answer_json("done")


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(
    ("signals", "drain_timeout", "finishes"), [(1, 60.0, True), (1, 0.1, False), (2, 60.0, False)]
)
def test_requests_under_way_get_their_time_unless_it_is_cut_short(
    tmp_path: Path, signals: int, drain_timeout: float, finishes: bool
) -> None:
    async def scenario() -> None:
        slow, sock = Slow(), listen("127.0.0.1", 0)
        app = App(KeyBook(tmp_path / "keys.json"), Routes(open={"/": {"GET": slow}}))
        endpoint = Endpoint(app, drain_timeout)
        async with aiohttp.ClientSession(base_url(sock)) as session:

            async def ask() -> int:
                async with session.get("/") as answer:
                    return answer.status

            async with endpoint.serving([sock]):
                asking = asyncio.create_task(ask())
                await slow.begun.wait()
                for _ in range(signals):
                    os.kill(os.getpid(), signal.SIGTERM)
                    await endpoint.stopping.wait()
                    await asyncio.sleep(0.05)
                if finishes:
                    asyncio.get_running_loop().call_later(0.2, slow.go.set)
            assert await asking == (200 if finishes else 503)
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask()

    uvloop.run(asyncio.wait_for(scenario(), 60))
