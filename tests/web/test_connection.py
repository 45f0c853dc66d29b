"""Who is sent something and does not read it, and who does not come to the end of a request, over
real sockets and under the loop that serves. The limit is an hour, and looks are the test's own, so
that nothing depends on how fast it goes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
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
    """`/stream` gets pieces without end, `/whole` one large answer, `/early` a small one before its
    body is read, and `/` after that."""

    def __init__(self) -> None:
        self.written = 0
        """Pieces that were taken."""
        self.left = asyncio.Event()
        """The client of a stream has gone, as its request was told."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        if scope["path"] != "/early":
            await exchange.body(MIB)
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

    def __init__(self, sock: socket.socket, path: str = "") -> None:
        self.heard = b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * KIB)
        self.socket.connect(sock.getsockname())
        self.socket.setblocking(False)
        if path:
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

    async def say(self, text: bytes, pieces: int = 1) -> None:
        """So many times, as far as the server takes it."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            for _ in range(pieces):
                await loop.sock_sendall(self.socket, text)

    async def hear(self) -> bytes:
        """All that comes until the server closes the connection."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while piece := await loop.sock_recv(self.socket, MIB):
                self.heard += piece
        self.socket.close()
        return self.heard


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
        async with serving(app, limit=0.5) as (server, sock):
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


REFUSED = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
ASKED = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
CHUNKED = b"POST %b HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 "


@pytest.mark.parametrize("piece", [100, 1000, 64 * KIB, MIB])
@pytest.mark.parametrize(
    ("before", "more", "told"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a", (REFUSED,)),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n", (REFUSED,)),
        (b"GET /", b"a", (REFUSED,)),
        (b"", b"\r\n", (REFUSED,)),
        (ASKED + b"GET /", b"a", (OK, REFUSED)),
        (CHUNKED % b"/early" + b"0\r\nX: ", b"a", (OK, REFUSED)),
        (CHUNKED % b"/" + b"0\r\nX: ", b"a", ()),  # it waits for the end of its body
        (CHUNKED % b"/" + b"0\r\n", b"X: a\r\n", ()),
    ],
)
def test_a_head_without_end_is_refused(
    before: bytes, more: bytes, told: tuple[bytes, ...], piece: int
) -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock)
            hearing = asyncio.create_task(client.hear())
            await client.say(before)
            if OK in told:
                await until(lambda: OK in client.heard)
            text = more * (piece // len(more))
            await client.say(text, MIB // len(text))
            heard = await hearing
            assert heard.count(b"HTTP/1.1 ") == len(told)
            assert all(one in heard for one in told)
            await until(lambda: not server.server_state.connections)

    run(scenario())


@pytest.mark.parametrize("piece", [1, 1000, MIB])
def test_a_head_and_a_body_may_come_in_any_pieces(piece: int) -> None:
    long = b"X: " + b"a" * (60 if piece == 1 else 60_000)
    size = 100 if piece == 1 else 400_000
    chunks = b"".join(b"%x\r\n%b\r\n" % (n, bytes(n)) for n in (size, 1, size)) + b"0\r\n\r\n"
    asked = [
        b"POST / HTTP/1.1\r\nHost: here\r\n%b\r\nContent-Length: %d\r\n\r\n%b"
        % (long, size, bytes(size)),
        CHUNKED % b"/" + chunks,
        *[ASKED] * (3 if piece == 1 else 3000),
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    ]

    async def scenario() -> None:
        async with serving(App()) as (_, sock):
            client = Client(sock)
            hearing = asyncio.create_task(client.hear())
            text = b"".join(asked)
            for at in range(0, len(text), piece):
                await client.say(text[at : at + piece])
                await asyncio.sleep(0)
            heard = await hearing
            assert heard.count(b"HTTP/1.1 ") == heard.count(OK) == len(asked)

    run(scenario())


async def connected(server: Server) -> Connection:
    """The one connection."""
    await until(lambda: len(server.server_state.connections) == 1)
    (found,) = server.server_state.connections
    assert isinstance(found, Connection)
    return found


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\r\n",
        b"G",
        b"GET / HTTP/1.1\r\nHost: he",
    ],
)
def test_who_does_not_say_what_it_wants_is_cut_off(said: bytes) -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock)
            connection = await connected(server)
            await client.say(said)
            if said:
                await until(lambda: connection._loose)
            connection.look_at_head()
            assert await client.hear() == b""
            await until(lambda: not server.server_state.connections)

    run(scenario())


@pytest.mark.parametrize(
    ("before", "said"),
    [(ASKED, ASKED[:20]), (ASKED, b"\r\n"), (CHUNKED % b"/early", b"0\r\nX: a")],
)
def test_so_it_is_where_it_has_asked_before(before: bytes, said: bytes) -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock)
            connection = await connected(server)
            await client.say(before)
            await until(lambda: client.read() > 0)
            await client.say(said)
            await until(lambda: connection._head_timer)
            connection.look_at_head()
            assert await client.hear() == b""

    run(scenario())


def test_who_waits_for_an_answer_or_asks_nothing_more_is_not() -> None:
    async def scenario() -> None:
        async with serving(App()) as (server, sock):
            client = Client(sock)
            connection = await connected(server)
            await client.say(CHUNKED % b"/")
            await until(lambda: connection.cycle)
            await client.say(b"2")  # of the size of a chunk
            await until(lambda: connection._loose)
            connection.look_at_head()
            await client.say(b"\r\nab\r\n0\r\n\r\n")
            await until(lambda: client.read() > 0)
            await client.say(ASKED)
            await until(lambda: client.read() > 0)
            connection.look_at_head()
            assert not connection.transport.is_closing()

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"G"])
def test_the_clock_looks_at_heads_by_itself(said: bytes) -> None:
    async def scenario() -> None:
        async with serving(App(), limit=0.05) as (server, sock):
            client = Client(sock)
            await client.say(said)
            assert await client.hear() == b""
            await until(lambda: not server.server_state.connections)

    run(scenario())
