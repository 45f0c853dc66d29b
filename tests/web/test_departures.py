"""Who hears of a client's departure, and what is written together."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn

from server.web.acceptor import Server
from server.web.departures import Departures
from server.web.exchange import Exchange, Receive, Scope, Send
from server.web.joined import Joined
from server.web.listen import listen

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Written(asyncio.Transport):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True


def test_a_departure_is_told_once_to_all_who_still_want_to_know() -> None:
    told: list[str] = []
    first, second, third = (lambda n=n: told.append(n) for n in ("first", "second", "third"))
    departures = Departures()
    departures.add(first)
    departures.add(second)
    departures.discard(second)
    departures.leave()
    departures.leave()
    assert told == ["first"]
    departures.add(third)
    assert told == ["first", "third"], "who comes later hears of it at once"


@pytest.mark.parametrize(
    ("parts", "writes"),
    [
        ([b"head", b"body"], [b"headbody"]),
        ([b"head", b""], [b"head"]),
        ([b"head", b"a", b"b"], [b"heada", b"b"]),
        ([CONTINUE, b"head", b"a"], [CONTINUE, b"heada"]),
        ([b"head"], [b"head"]),
        ([], []),
    ],
)
def test_a_head_goes_out_with_what_follows_it(parts: list[bytes], writes: list[bytes]) -> None:
    written = Written()
    joined = Joined(written)
    for part in parts:
        joined.write(part)
    joined.close()
    assert written.writes == writes
    assert written.closed


async def test_a_client_that_waits_to_be_told_to_go_on_is_answered() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        await exchange.answer_json(len(await exchange.body(100)))

    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, lifespan="off", log_config=None, http="httptools", ws="none")
    server = Server(config)
    running = asyncio.create_task(server.serve([sock]))
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
    for _ in range(2):
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(1) == b"3"
    writer.close()
    server.should_exit = True
    await running
