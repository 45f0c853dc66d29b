"""A TCP server that says exactly the bytes that it is told to, whatever was asked of it.

For what no well-meaning HTTP server would send. An answer is a list of steps: bytes to write,
seconds to wait, an asyncio.Event to wait for, or CLOSE. A connection is closed behind its answer
unless the answer ends with KEEP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from enum import Enum


class End(Enum):
    CLOSE = "close"
    """As a crash does: at once, with a reset."""
    KEEP = "keep"
    """Take the next request on the same connection."""


CLOSE, KEEP = End.CLOSE, End.KEEP
Step = bytes | float | asyncio.Event | End


class RawServer:
    """`answers` are given in turn; the last one again and again."""

    def __init__(self, answers: Sequence[Sequence[Step]]) -> None:
        self._answers = list(answers)
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []
        """Heads and bodies, as they came."""
        self.gone = asyncio.Event()
        """Set when a client has closed a connection."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.requests.append(head + await reader.readexactly(length))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        steps = asyncio.create_task(_play(answer, writer))
        left = asyncio.create_task(reader.read(1))  # a client that sends no more but goes
        done, _ = await asyncio.wait({steps, left}, return_when=asyncio.FIRST_COMPLETED)
        if left in done and steps not in done:
            steps.cancel()
            self.gone.set()
            return False
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await left
        return steps.result()


async def _play(answer: Sequence[Step], writer: asyncio.StreamWriter) -> bool:
    for step in answer:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, asyncio.Event):
            await step.wait()
        elif isinstance(step, End):
            if step is CLOSE:
                writer.transport.abort()
            return step is KEEP
        else:
            await asyncio.sleep(step)
    return False


@contextlib.asynccontextmanager
async def raw_server(*answers: Sequence[Step]) -> AsyncIterator[RawServer]:
    """A server that gives `answers`, until the block is left."""
    server = RawServer(answers)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def reply(
    body: bytes = b"{}",
    status: str = "200 OK",
    content_type: str = "application/json",
    headers: Sequence[str] = (),
) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
"""The head of a stream; `chunk` makes what follows, and END ends it."""
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
