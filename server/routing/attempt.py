"""One try of one request at one engine: wait until it is ready, take slots, ask, relay.

Leaving the context gives the slots back and, unless the answer was read to its end, closes the
connection, upon which the engine stops the work: that is how a client's departure is passed on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from server.chat import engine_error
from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.engines.slots import Lease
from server.errors import EngineError

_HEADERS = {"content-type": "application/json"}
# llama-server announces keep-alive for a streamed answer and then closes the connection: used
# again, every other one fails (25 of 50 in a row; none with this header).
_STREAM_HEADERS = _HEADERS | {"connection": "close"}


class Attempt:
    """An asynchronous context: entered, the engine has accepted the request and begun to answer.

    Entering raises Overloaded when the queue is full, EngineUnready when the engine does not
    become ready within `load_timeout` seconds, EngineError when it breaks, and what
    `chat.engine_error` makes of a refusal.
    """

    def __init__(
        self,
        engine: Engine,
        path: str,
        body: dict[str, Any],
        *,
        client: str,
        slots: int,
        load_timeout: float,
    ) -> None:
        self._engine = engine
        self._path = path
        self._body = body
        self._client = client
        self._slots = slots
        self._load_timeout = load_timeout
        self._lease: Lease | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._phase = ""

    def describe(self) -> str:
        """What the request is waiting for, in words for people."""
        if self._phase == "loading":
            progress = self._engine.progress
            done = "" if progress is None else f", {progress:.0%}"
            return f"loading {self._engine.name}{done}"
        if self._phase == "queued":
            return f"waiting for a slot of {self._engine.name}"
        return "processing the prompt"

    async def __aenter__(self) -> Attempt:
        lease = await self._take_slots()
        self._phase = "asked"
        try:
            self._response = await self._ask()
        except BaseException:
            lease.release()
            raise
        self._lease = lease
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._response is not None:
            self._response.close()
        if self._lease is not None:
            self._lease.release()

    async def whole(self) -> bytes:
        """The whole answer. Raises EngineError when the engine breaks before its end."""
        assert self._response is not None
        try:
            return await self._response.read()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._broken(error) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they come. Raises EngineError when the engine breaks."""
        assert self._response is not None
        read = self._response.content.readany
        try:
            while chunk := await read():
                yield chunk
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._broken(error) from error

    async def _take_slots(self) -> Lease:
        while True:
            if self._engine.state is not State.READY:
                self._phase = "loading"
                await self._engine.wait_ready(self._load_timeout)
            self._phase = "queued"
            lease = self._engine.queue.acquire(self._client, self._slots)
            await lease.__aenter__()
            if self._engine.state is State.READY:
                return lease
            # It broke while this request stood in the queue: wait for its restart without a slot.
            lease.release()

    async def _ask(self) -> aiohttp.ClientResponse:
        try:
            response = await self._engine.session.post(
                self._path,
                data=orjson.dumps(self._body),
                headers=_STREAM_HEADERS if self._body.get("stream") else _HEADERS,
            )
            if response.status == 200:
                return response
            refusal = await response.read()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._broken(error) from error
        raise engine_error(response.status, refusal)

    def _broken(self, error: Exception) -> EngineError:
        return EngineError(
            f"the engine of {self._engine.name} broke off",
            why=f"its connection ended ({type(error).__name__})",
            next_step="It is being restarted; send the request again",
            retry_after=1,
        )
