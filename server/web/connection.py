"""One connection of a client, which has to read what it is sent.

What it leaves unread is held in the kernel's buffers and in 64 KiB here; from then on the answer's
handler waits, and with it the target, from which nothing more is read. A client that reads nothing
at all for STALL_LIMIT seconds is cut off, which cancels its request, if that still runs: it holds
an engine's slot, or a connection to a cloud that is paid for. One that reads slowly is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from server.web.sendfile import SendfileProtocol

log = logging.getLogger("holdfast.web")

STALL_LIMIT: Final = 30.0
"""Seconds for which a client may read nothing."""


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

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._unread = math.inf
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._unread = math.inf  # who asks for more has read
        super().on_message_begin()

    def on_response_complete(self) -> None:
        # The end of an answer is written without waiting, and closing waits for its reader.
        if self.transport.get_write_buffer_size():
            self._watch()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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

    def _watch(self) -> None:
        if self._timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(self._limit, self.look)
