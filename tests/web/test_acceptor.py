"""The server's way to take connections, over real sockets."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from server.web.acceptor import Server
from server.web.listen import listen, listen_unix

_REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"


async def _who(scope: Any, _receive: Any, send: Any) -> None:
    """Answers with the address of its client, as the server sees it."""
    client = (scope["client"] or ("nobody",))[0].encode()
    length = str(len(client)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": client})


@contextlib.asynccontextmanager
async def _serving(*sockets: socket.socket) -> AsyncIterator[Server]:
    config = uvicorn.Config(
        _who, http="httptools", ws="none", lifespan="off", log_config=None, proxy_headers=False
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(list(sockets)))
    try:
        yield server
    finally:
        server.should_exit = True
        await task


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(_REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    lines = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:-2])
    return await reader.readexactly(int(lines[b"content-length"]))


def test_the_client_is_who_connects_and_not_who_a_header_names() -> None:
    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        async with _serving(sock):
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            assert await _ask(reader, writer) == b"127.0.0.1"
            writer.close()

    uvloop.run(scenario())


def test_all_that_wait_are_taken_in_one_pass_of_the_loop() -> None:
    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        address = sock.getsockname()
        waiting = [socket.create_connection(address) for _ in range(200)]
        async with _serving(sock) as server:
            while not server.started:
                await asyncio.sleep(0)
            # One pass sees the listening socket, the next runs the tasks, a third their callbacks.
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(server.server_state.connections) == len(waiting)
            for client in waiting:
                client.close()

    uvloop.run(scenario())


def test_it_listens_on_a_unix_socket_as_well_and_stops_accepting_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "admin.sock"
        tcp, unix = listen("127.0.0.1", 0), listen_unix(path)
        address = tcp.getsockname()
        async with _serving(tcp, unix):
            reader, writer = await asyncio.open_unix_connection(str(path))
            assert await _ask(reader, writer) == b"nobody"
            writer.close()
            reader, writer = await asyncio.open_connection(*address)
            assert await _ask(reader, writer) == b"127.0.0.1"
            writer.close()
        with contextlib.suppress(ConnectionRefusedError):
            await asyncio.open_connection(*address)
            raise AssertionError("somebody still listens")

    uvloop.run(scenario())


_FEW_DESCRIPTORS = """
import logging, resource, uvicorn, uvloop
from server.web.acceptor import Server
from server.web.listen import listen

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

logging.basicConfig(format="%(message)s")
sock = listen("127.0.0.1", 0)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(sock.getsockname()[1], flush=True)
config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
uvloop.run(Server(config).serve([sock]))
"""


def test_without_descriptors_it_says_so_waits_and_goes_on() -> None:
    command = [sys.executable, "-c", _FEW_DESCRIPTORS]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout
        assert server.stderr
        try:
            address = ("127.0.0.1", int(server.stdout.readline()))
            crowd = [socket.create_connection(address) for _ in range(80)]
            assert server.stderr.readline() == "new connections have to wait: Too many open files\n"
            late = socket.create_connection(address)
            late.sendall(_REQUEST)
            for client in crowd:
                client.close()
            late.settimeout(60)
            assert late.recv(100).startswith(b"HTTP/1.1 200")
            late.close()
        finally:
            server.terminate()
