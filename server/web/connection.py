"""One connection of a client, which has to read what it is sent, and to say what it wants.

What it leaves unread is held in the kernel's buffers and in 64 KiB here; from then on the answer's
handler waits, and with it the target, from which nothing more is read. A client that reads nothing
at all for STALL_LIMIT seconds is cut off, which cancels its request, if that still runs: it holds
an engine's slot, or a connection to a cloud that is paid for. One that reads slowly is waited for.

The parser bounds nothing: it holds the head of a request until its end, and nobody has asked for a
key by then. So heads have to end within MAX_HEAD bytes (what came in one piece with the end of the
request before is not counted) and STALL_LIMIT seconds, and so has what may follow a body in chunks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import orjson
from uvicorn.config import Config
from uvicorn.server import ServerState

from server.errors import RequestError
from server.units import KIB, format_bytes
from server.web.sendfile import SendfileProtocol

log = logging.getLogger("holdfast.web")

STALL_LIMIT: Final = 30.0
"""Seconds for which a client may read nothing, or leave it open what it wants."""
MAX_HEAD: Final = 64 * KIB
"""Bytes that may come without making a head whole, or a piece of a body."""


class Connection(SendfileProtocol):
    """`limit`: STALL_LIMIT, but for tests."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        threads: ThreadPoolExecutor,
        limit: float = STALL_LIMIT,
    ) -> None:
        super().__init__(config, server_state, app_state, threads)
        self._limit = limit
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0.0
        """Bytes that were held here when it was last looked; infinity: some were read since."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._loose = 0
        """Bytes that have come since a head was last whole, or a piece of a body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self._loose += len(data)
        super().data_received(data)
        if self._loose and not self.transport.is_closing():
            if self._loose > MAX_HEAD:
                self._refuse_head()
            elif self._head_timer is None and not self._answering:
                self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._unread = math.inf
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._unread = math.inf  # who asks for more has read
        if self._head_timer is not None:
            self._stop_awaiting_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._loose = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._loose = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        # The end of an answer is written without waiting, and closing waits for its reader.
        if self.transport.get_write_buffer_size():
            self._watch()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop_awaiting_head()
        super().connection_lost(exc)

    def look(self) -> None:
        """Cut it off where nothing was read since the last look, one `limit` ago."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held = self.transport.get_write_buffer_size()
        if not held:
            return
        if held < self._unread:
            self._watch()
            return
        log.info("a client read nothing for %g s: its connection is closed", self._limit)
        self.transport.abort()

    def look_at_head(self) -> None:
        """Close it where its client had a whole `limit` to say what it wants, and has not."""
        self._stop_awaiting_head()
        if self._answering or not (self._loose or self.scope is None):
            return
        log.info("a client asked for nothing whole in %g s: its connection is closed", self._limit)
        self.transport.close()

    @property
    def _answering(self) -> bool:
        """Whether a request was read whose answer is not at its end."""
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limit, self.look_at_head)

    def _stop_awaiting_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_head(self) -> None:
        log.info("the head of a request is too large: its connection is closed")
        if not self._answering:  # else it would be taken for a part of that answer
            self.transport.write(_TOO_LARGE)
        self._watch()
        self.transport.close()

    def _watch(self) -> None:
        if self._timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(self._limit, self.look)


def _too_large() -> bytes:
    error = RequestError(f"the head of the request is larger than {format_bytes(MAX_HEAD)}")
    body = orjson.dumps(error.openai_body())
    return (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
    )


_TOO_LARGE = _too_large()
