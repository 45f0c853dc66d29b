"""Files sent by the kernel, over real sockets, under the event loop that serves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop

from server.errors import EngineUnready
from server.units import MIB
from server.web.acceptor import Server
from server.web.exchange import Exchange
from server.web.listen import listen, listen_unix
from server.web.sendfile import EXTENSION
from tests.waiting import until

LARGE = 40 * MIB  # more than the kernel holds for a connection whose client does not read
PATIENCE = 60.0

App = Callable[[Any, Any, Any], Awaitable[None]]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(asyncio.wait_for(scenario, PATIENCE))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "large"
    path.write_bytes(os.urandom(LARGE))
    return path


class Files:
    """Answers `GET /COUNT` with that many bytes of the file, and `GET /tiny` with a few."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.exchanges: list[Exchange] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.sent = 0
        self.errors: list[BaseException] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        if scope["path"] == "/tiny":
            await exchange.answer_json("tiny")
            return
        task = asyncio.current_task()
        assert task is not None
        self.exchanges.append(exchange)
        self.tasks.append(task)
        file = os.open(self._path, os.O_RDONLY)
        try:
            count = int(scope["path"].strip("/"))
            await exchange.answer_file(200, [], file, 0, count, self._count)
        except BaseException as error:  # what the application does with it is App's business
            self.errors.append(error)
        finally:
            os.close(file)

    def _count(self, sent: int) -> None:
        self.sent += sent


@contextlib.asynccontextmanager
async def serving(app: App, *sockets: socket.socket) -> AsyncIterator[Server]:
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
    server = Server(config)
    task = asyncio.create_task(server.serve(list(sockets)))
    try:
        yield server
    finally:
        server.should_exit = server.force_exit = True
        await task


class Client:
    """Reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, sock: socket.socket) -> Client:
        return cls(*await asyncio.open_connection(*sock.getsockname()))

    def ask(self, path: str, method: str = "GET") -> None:
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())

    async def head(self) -> tuple[bytes, int]:
        """The status line, and the content-length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines if line)
        return status, int(fields[b"content-length"])

    async def body(self) -> bytes:
        status, length = await self.head()
        assert status == b"HTTP/1.1 200 OK"
        return await self.reader.readexactly(length)

    async def until_it_breaks(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return bytes(self.reader._buffer)  # type: ignore[attr-defined]


def descriptors() -> int:
    """How many sockets and files of the tests are open; the event loop has others of its own."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum(link.startswith("socket:") or link.endswith("/large") for link in links)


def test_every_byte_arrives_and_the_connection_stays_usable(large: Path) -> None:
    content = large.read_bytes()

    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            for count in (1, 100_000, LARGE, 0, 7):
                client.ask(f"/{count}")
                assert await client.body() == content[:count]
            await until(lambda: app.sent == 1 + 100_000 + LARGE + 7)
            assert not app.errors
            client.ask("/tiny")
            assert await client.body() == b'"tiny"'
            client.writer.close()

    run(scenario())


def test_an_offset_is_where_it_begins(large: Path) -> None:
    content = large.read_bytes()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with large.open("rb") as file:
            exchange = Exchange(scope, receive, send)
            await exchange.answer_file(200, [], file.fileno(), LARGE - 100, 60, lambda sent: None)

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask("/")
            assert await client.body() == content[LARGE - 100 : LARGE - 40]
            client.writer.close()

    run(scenario())


def test_a_head_has_the_length_and_no_body(large: Path) -> None:
    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask("/1000", "HEAD")
            assert await client.head() == (b"HTTP/1.1 200 OK", 1000)
            client.ask("/tiny")
            assert await client.body() == b'"tiny"'
            client.writer.close()

    run(scenario())


def test_requests_sent_in_one_go_are_answered_in_order(large: Path) -> None:
    content = large.read_bytes()

    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            for path in ("/20000000", "/tiny", "/5", "/30000000", "/tiny"):
                client.ask(path)
            assert await client.body() == content[:20_000_000]
            assert await client.body() == b'"tiny"'
            assert await client.body() == content[:5]
            assert await client.body() == content[:30_000_000]
            assert await client.body() == b'"tiny"'
            client.writer.close()

    run(scenario())


def test_it_works_on_a_unix_socket(large: Path, tmp_path: Path) -> None:
    content = large.read_bytes()

    async def scenario() -> None:
        path = tmp_path / "web.sock"
        async with serving(Files(large), listen_unix(path)):
            client = Client(*await asyncio.open_unix_connection(str(path)))
            client.ask(f"/{LARGE}")
            assert await client.body() == content
            client.writer.close()

    run(scenario())


def test_clients_that_do_not_read_hold_up_nobody(large: Path) -> None:
    content = large.read_bytes()

    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            # More of them than there are threads.
            sleepers = [await Client.connect(sock) for _ in range(20)]
            for sleeper in sleepers:
                sleeper.ask(f"/{LARGE}")
            await until(lambda: len(app.exchanges) == len(sleepers))
            await until(lambda: all(exchange.sending_since for exchange in app.exchanges))
            awake = await Client.connect(sock)
            awake.ask("/tiny")
            assert await awake.body() == b'"tiny"'
            awake.ask(f"/{LARGE}")
            assert await awake.body() == content
            # One that wakes up gets all of it.
            assert await sleepers[7].body() == content
            assert not app.errors
            for client in (*sleepers, awake):
                client.writer.close()

    run(scenario())


def test_it_can_be_told_how_long_a_client_has_not_read(large: Path) -> None:
    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask(f"/{LARGE}")
            await until(lambda: bool(app.exchanges) and app.sent > 0)
            stuck = None
            while stuck is None or stuck != app.exchanges[0].sending_since:
                stuck = app.exchanges[0].sending_since
                await asyncio.sleep(0.2)
            assert app.sent < LARGE
            await client.head()
            await client.reader.readexactly(LARGE // 2)
            await until(lambda: app.exchanges[0].sending_since != stuck)
            await client.reader.readexactly(LARGE - LARGE // 2)
            await until(lambda: app.exchanges[0].sending_since is None)
            client.writer.close()

    run(scenario())


def test_a_client_that_leaves_ends_it_quietly(
    large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            before = descriptors()
            for number in range(20):
                client = await Client.connect(sock)
                client.ask(f"/{LARGE}")
                await client.reader.readexactly(number * MIB + 1)
                client.writer.transport.abort()
            await until(lambda: len(app.tasks) == 20 and all(task.done() for task in app.tasks))
            await until(lambda: descriptors() == before)
            assert all(exchange.disconnected for exchange in app.exchanges)
            assert not app.errors

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_client_that_left_before_the_head_is_no_error(large: Path) -> None:
    left = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        with large.open("rb") as file:
            await exchange.answer_file(200, [], file.fileno(), 0, LARGE, lambda sent: None)
        left.append(exchange.disconnected)

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask("/")
            await client.writer.drain()
            client.writer.close()
            await until(lambda: left == [True])

    run(scenario())


@pytest.mark.parametrize("reading", [True, False], ids=["reading", "stuck"])
def test_when_it_is_cancelled_the_connection_breaks_and_nothing_else_is_sent(
    large: Path, reading: bool
) -> None:
    content = large.read_bytes()

    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            before = descriptors()
            client = await Client.connect(sock)
            client.ask(f"/{LARGE}")
            _, length = await client.head()
            got = await client.reader.readexactly(MIB)
            if not reading:
                await asyncio.sleep(0.3)
            app.tasks[0].cancel()
            got += await client.until_it_breaks()
            assert len(got) < length
            assert content.startswith(got)
            assert isinstance(app.errors[0], asyncio.CancelledError)
            # Told of an error now, the client must not take it for bytes of the file.
            await app.exchanges[0].fail(EngineUnready("it ends"))
            client.writer.close()
            await until(lambda: descriptors() == before)

    run(scenario())


def test_a_file_that_became_shorter_is_a_broken_connection(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"x" * 1000)

    async def scenario() -> None:
        app, sock = Files(path), listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask("/1001")
            assert await client.head() == (b"HTTP/1.1 200 OK", 1001)
            assert len(await client.until_it_breaks()) <= 1000
            await until(lambda: bool(app.errors))
            assert isinstance(app.errors[0], EOFError)
            client.writer.close()

    run(scenario())


def test_what_was_written_before_the_file_goes_before_it(large: Path) -> None:
    content = large.read_bytes()
    written = content[::-1]  # far more than the kernel takes at once

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(LARGE + 100).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": written, "more_body": True})
        with large.open("rb") as file:
            await scope["extensions"][EXTENSION]["send"](file.fileno(), 0, 100)
        await send({"type": "http.response.body", "body": b""})

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask("/")
            assert await client.body() == written + content[:100]
            client.writer.close()

    run(scenario())


def test_more_than_was_announced_is_never_sent(large: Path) -> None:
    content = large.read_bytes()
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with large.open("rb") as file:
            try:
                await scope["extensions"][EXTENSION]["send"](file.fileno(), 0, 11)
            except RuntimeError as error:
                errors.append(error)
            await scope["extensions"][EXTENSION]["send"](file.fileno(), 0, 10)
        await send({"type": "http.response.body", "body": b""})

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        async with serving(app, sock):
            client = await Client.connect(sock)
            client.ask("/")
            assert await client.body() == content[:10]
            assert len(errors) == 1
            client.writer.close()

    run(scenario())


def test_the_server_can_end_while_files_are_sent(large: Path) -> None:
    async def scenario() -> None:
        app, sock = Files(large), listen("127.0.0.1", 0)
        async with serving(app, sock):
            clients = [await Client.connect(sock) for _ in range(12)]
            for client in clients:
                client.ask(f"/{LARGE}")
            await until(lambda: app.sent > 0 and len(app.tasks) == 12)
            for task in app.tasks:
                task.cancel()
        assert all(task.done() for task in app.tasks)
        for client in clients:
            client.writer.close()

    run(scenario())


def test_an_answered_request_leaves_no_cycle_of_references(large: Path) -> None:
    """Such cycles lie in memory until the next full collection, megabytes for a busy server."""

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        async with serving(_Answers(large), sock):
            client = await Client.connect(sock)
            await _ask_all(client)
            gc.collect()
            await _ask_all(client)
            assert gc.collect() == 0
            client.writer.close()

    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


class _Answers(Files):
    """The same, keeping nothing of what it has answered."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await super().__call__(scope, receive, send)
        self.exchanges.clear()
        self.tasks.clear()


async def _ask_all(client: Client) -> None:
    for path in ("/tiny", "/100000"):
        client.ask(path)
        await client.body()
