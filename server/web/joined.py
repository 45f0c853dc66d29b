"""An answer's head and what follows it, written at once: a write is a system call, and a packet."""

from __future__ import annotations

import asyncio

_CONTINUE = b"HTTP/1.1 100 "


class Joined:
    """A transport as uvicorn needs it to write one answer: the head goes out with what follows."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = b""
        """None: it has gone."""

    def write(self, data: bytes) -> None:
        if self._head is None or data.startswith(_CONTINUE):
            self._transport.write(data)
        elif self._head:
            self._transport.writelines((self._head, data))
            self._head = None
        else:
            self._head = data

    def close(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = None
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
