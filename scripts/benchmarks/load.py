"""The load: HTTP/1.1 clients as raw protocols, so that what is measured is the server.

A general HTTP client costs as much per request as Holdfast does; these cost some 20 microseconds.
They know the two forms in which a server may end a body: Content-Length, and chunks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import uvloop

T = TypeVar("T")

_END = b"\r\n0\r\n\r\n"
"""How a body in chunks ends, with the end of the chunk before it. No chunk of ours holds a CR LF:
they are JSON, or server-sent events of it."""
Address = tuple[str, int] | Path
"""A TCP host and port, or a UNIX socket's path."""


class LoadError(Exception):
    """The server did not answer as it has to for being measured."""


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    """Without the transfer coding; of a stream, all of its events."""
    sent: int
    """Nanoseconds, `time.perf_counter_ns`, as are the next two."""
    first: int
    done: int

    @property
    def seconds(self) -> float:
        return (self.done - self.sent) / 1e9


def request(path: str, body: Mapping[str, Any], *, key: str | None = None) -> bytes:
    """A POST as it goes over the wire."""
    data = json.dumps(body, separators=(",", ":")).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
    ]
    if key is not None:
        head.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*head, "", ""]).encode() + data


class Connection(asyncio.Protocol):
    """One connection; `send` a request, and `on_answer` is called when all of it is there."""

    def __init__(self, on_answer: Callable[[Connection], None]) -> None:
        self._on_answer = on_answer
        self._transport: asyncio.Transport
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._length: int | None = None
        """Bytes of the whole answer where it says so, else -1; None until its head is there."""
        self._have = 0
        self._tail = b""
        self._waiting = False
        self.sent = self.first = self.done = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def connection_lost(self, error: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        if self._waiting:
            self._waiting = False
            self._on_answer(self)

    def send(self, data: bytes) -> None:
        self._parts.clear()
        self._length, self._have, self._tail = None, 0, b""
        self._waiting = True
        self.first = 0
        self.sent = time.perf_counter_ns()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        if not self.first:
            self.first = now
        self._parts.append(data)
        self._have += len(data)
        if self._length is None:
            data = self._read_head()
        if self._length is None:
            return
        if self._length < 0:
            self._tail = (self._tail + data)[-len(_END) :]
            complete = self._tail == _END
        else:
            complete = self._have >= self._length
        if complete:
            self.done = now
            self._waiting = False
            self._on_answer(self)

    def _read_head(self) -> bytes:
        """Find how the body ends, once the head is there. Returns what there is of the body."""
        received = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return b""
        head = received[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        self._length = -1 if at < 0 else end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        return received[end + 4 :]

    def answer(self) -> Answer:
        """The last answer. Raises LoadError unless it is complete and its status is 200."""
        received = b"".join(self._parts)
        head, _, body = received.partition(b"\r\n\r\n")
        if self._length is None or self.done < self.sent:
            raise LoadError(f"the connection ended after {self._have} bytes: {body[-300:]!r}")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise LoadError(f"{head.splitlines()[0].decode()}: {body[:500].decode()}")
        if self._length < 0:
            body = _without_chunks(body)
        return Answer(body, self.sent, self.first, self.done)

    async def close(self) -> None:
        self._transport.close()
        await self._lost


def _without_chunks(body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        size = int(body[at:line], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[line + 2 : line + 2 + size])
        at = line + 2 + size + 2


async def connect(address: Address, on_answer: Callable[[Connection], None]) -> Connection:
    loop = asyncio.get_running_loop()
    if isinstance(address, Path):
        _, made = await loop.create_unix_connection(lambda: Connection(on_answer), str(address))
    else:
        _, made = await loop.create_connection(lambda: Connection(on_answer), *address)
    return made


def repeat(
    address: Address, data: bytes, *, count: int, concurrency: int, timeout: float
) -> tuple[float, list[float]]:
    """Send the same request `count` times over `concurrency` connections, each without a pause.

    Returns the seconds from the first byte sent to the last received, and the latencies in
    seconds. Raises LoadError on the first answer that is not 200 or after `timeout` seconds.
    """
    return _run(_repeat(address, data, count, concurrency), timeout)


def at_once(address: Address, requests: Sequence[bytes], *, timeout: float) -> list[Answer]:
    """Send every request over a connection of its own, all at the same time.

    Raises LoadError where an answer is broken off or not 200, or after `timeout` seconds.
    """
    return _run(_at_once(address, requests), timeout)


def _run(work: Coroutine[Any, Any, T], timeout: float) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await work

    try:
        return uvloop.run(bounded())
    except TimeoutError:
        raise LoadError(f"the answers took more than {timeout:.0f} s") from None


async def _repeat(
    address: Address, data: bytes, count: int, concurrency: int
) -> tuple[float, list[float]]:
    latencies: list[float] = []
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left, running = count, 0

    def next_one(connection: Connection) -> None:
        nonlocal left, running
        if over.done():
            return
        if connection.sent:
            try:
                latencies.append(connection.answer().seconds)
            except LoadError as error:
                over.set_exception(error)
                return
        if left:
            left -= 1
            connection.send(data)
            return
        running -= 1
        if not running:
            over.set_result(None)

    connections = [await connect(address, next_one) for _ in range(concurrency)]
    running = concurrency
    begun = time.perf_counter()
    try:
        for connection in connections:
            next_one(connection)
        await over
    finally:
        took = time.perf_counter() - begun
        for connection in connections:
            connection._on_answer = lambda _: None
            await connection.close()
    return took, latencies


async def _at_once(address: Address, requests: Sequence[bytes]) -> list[Answer]:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    running = len(requests)

    def one_less(connection: Connection) -> None:
        nonlocal running
        running -= 1
        if not running and not over.done():
            over.set_result(None)

    connections = await asyncio.gather(*(connect(address, one_less) for _ in requests))
    try:
        for connection, data in zip(connections, requests, strict=True):
            connection.send(data)
        await over
        return [connection.answer() for connection in connections]
    finally:
        for connection in connections:
            connection._on_answer = lambda _: None
            await connection.close()


def events(body: bytes) -> list[bytes]:
    """The data of each server-sent event; comments are left out."""
    blocks = body.split(b"\n\n")
    return [block[6:] for block in blocks if block.startswith(b"data: ")]
