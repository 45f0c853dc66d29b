"""Who is sent something and does not read it, over real sockets and under the loop that serves.
The limit is an hour, and looks are the test's own, so that nothing depends on how fast it goes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import uvicorn
import uvloop

from server.units import KIB, MIB
from server.web.acceptor import Server
from server.web.connection import Connection
from server.web.exchange import Exchange
from server.web.listen import listen
from tests.waiting import until

HOUR = 3600.0
PIECE = bytes(64 * KIB)
WHOLE = bytes(40 * MIB)  # more than the kernel holds for a connection whose client does not read


class App:
    """`GET /stream` gets pieces without end, `GET /whole` one large answer, `GET /` a small one."""

    def __init__(self) -> None:
        self.written = 0
        """Pieces that were taken."""
        self.left = asyncio.Event()
        """The client of a stream has gone, as its request was told."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        await exchange.body(1)
        if scope["path"] != "/stream":
            await exchange.answer(200, WHOLE if scope["path"] == "/whole" else b"{}")
            return
        exchange.watch_client()
        with contextlib.suppress(asyncio.CancelledError):
            await exchange.begin_stream()
            while True:
                await exchange.write(PIECE)
                self.written += 1
                await asyncio.sleep(0)
        self.left.set()


@contextlib.asynccontextmanager
async def serving(app: App, limit: float = HOUR) -> AsyncIterator[tuple[Server, socket.socket]]:
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
    server = Server(config, limit)
    task = asyncio.create_task(server.serve([sock]))
    try:
        yield server, sock
    finally:
        server.should_exit = server.force_exit = True
        await task


class Client:
    """Reads only when it is told to, and has little room."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * KIB)
        self.socket.connect(sock.getsockname())
        self.socket.setblocking(False)
        self.ask(path)

    def ask(self, path: str) -> None:
        self.socket.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())

    def read(self) -> int:
        """Bytes of what has come; 0: the connection has ended, as it should or not."""
        try:
            return len(self.socket.recv(MIB))
        except BlockingIOError:
            return -1
        except ConnectionError:
            return 0


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(asyncio.wait_for(scenario, 60))


async def held(server: Server) -> Connection:
    """The one connection, once more is written to it than its client has room for."""

    def there() -> list[Connection]:
        found = [one for one in server.server_state.connections if isinstance(one, Connection)]
        return [one for one in found if one.flow and one.flow.write_paused]

    await until(there)
    return there()[0]


def cut(connection: Connection) -> bool:
    """Whether it is, by another look: between two of them the kernel may have taken a little."""
    connection.look()
    return connection.transport.is_closing()


def test_a_client_that_reads_nothing_is_cut_off_and_its_request_told() -> None:
    async def scenario() -> None:
        app = App()
        async with serving(app) as (server, sock):
            client = Client(sock, "/stream")
            connection = await held(server)
            written = app.written
            await asyncio.sleep(0.05)
            assert app.written <= written + 1, "who writes waits for who reads"
            await until(lambda: cut(connection))
            await app.left.wait()
            await until(lambda: not server.server_state.connections)
            client.socket.close()

    run(scenario())


def test_so_it_is_where_the_answer_is_already_complete() -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock, "/whole")
            connection = await held(server)
            assert connection.cycle.response_complete
            await until(lambda: cut(connection))
            await until(lambda: not server.server_state.connections)
            client.socket.close()

    run(scenario())


def test_the_clock_looks_by_itself() -> None:
    async def scenario() -> None:
        app = App()
        async with serving(app, limit=0.05) as (server, sock):
            client = Client(sock, "/stream")
            await app.left.wait()
            await until(lambda: not server.server_state.connections)
            client.socket.close()

    run(scenario())


def test_a_client_that_reads_a_little_is_waited_for() -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock, "/whole")
            connection = await held(server)
            for _ in range(5):
                before = connection.transport.get_write_buffer_size()
                while connection.transport.get_write_buffer_size() >= before:
                    client.read()
                    await asyncio.sleep(0)
                connection.look()
                assert not connection.transport.is_closing()

    run(scenario())


def test_a_client_that_has_read_everything_keeps_its_connection() -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock, "/whole")
            connection = await held(server)
            left = len(WHOLE)
            while left > 0:
                left -= max(0, client.read())
                await asyncio.sleep(0)
            connection.look()
            connection.look()
            client.ask("/")
            await until(lambda: client.read() > 0)

    run(scenario())
