"""One request at one engine: wait for slots, ask, relay.

Leaving the context gives the slots back and, unless the answer was read to its end, closes the
connection, upon which the engine stops the work: that is how a client's departure is passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from server.chat import engine_error
from server.engines.member import Member
from server.engines.slots import Lease
from server.errors import EngineError, EngineUnready, HoldfastError, Overloaded
from server.units import format_duration

_HEADERS = {"content-type": "application/json"}
# llama-server announces keep-alive for a streamed answer and then closes the connection: used
# again, every other one fails (25 of 50 in a row; none with this header).
_STREAM_HEADERS = _HEADERS | {"connection": "close"}
_LOST = (aiohttp.ClientError, ConnectionError)
_GONE = (*_LOST, EngineUnready)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a request waits."""

    queue: float
    """For slots of an engine that is ready."""
    load: float
    """For an engine that is to be loaded, is loading, or is being started again."""


class Attempt:
    """An asynchronous context: entered, the engine has accepted the request and begun to answer.

    `slots`: how many the request needs at once. Entering has the model loaded if it is not. It
    raises Overloaded when the queue is full or the wait too long, what keeps the model from being
    loaded, EngineError when its engine breaks twice, and what `chat.engine_error` makes of a
    refusal.
    """

    def __init__(
        self,
        member: Member,
        path: str,
        body: dict[str, Any],
        *,
        client: str,
        slots: int,
        patience: Patience,
    ) -> None:
        self._member = member
        self._path = path
        self._body = body
        self._patience = patience
        self._client = client
        self._slots = slots
        self._lease: Lease | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._asked = False

    def describe(self) -> str:
        """What the request is waiting for, in words for people."""
        return "processing the prompt" if self._asked else self._member.describe()

    async def __aenter__(self) -> Attempt:
        again = True
        while self._response is None:
            lease = self._lease = await self._take_slots()
            try:
                self._response = await self._ask()
            except _GONE as error:
                lease.release()
                if not again:
                    raise self._broken(error) from error
                # No byte of an answer was seen: to ask once more repeats nothing for the client.
                again = False
                # If it does not come back, what follows is the fleet's to say: in the queue.
                with contextlib.suppress(HoldfastError):
                    await self._member.engine.recovered(self._patience.load)
            except BaseException:
                lease.release()
                raise
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
        except _LOST as error:
            raise self._broken(error) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they come. Raises EngineError when the engine breaks."""
        assert self._response is not None
        read = self._response.content.readany
        try:
            while chunk := await read():
                yield chunk
        except _LOST as error:
            raise self._broken(error) from error

    async def _take_slots(self) -> Lease:
        self._asked = False
        member = self._member
        lease = member.request(self._client, self._slots)
        limit = self._patience.queue if member.ready else self._patience.load
        try:
            async with asyncio.timeout(limit):
                return await lease.__aenter__()
        except TimeoutError:
            raise Overloaded(
                f"no slot of {member.name} came free in {format_duration(limit)}",
                next_step="Retry later",
                retry_after=member.queue.retry_after(),
            ) from None

    async def _ask(self) -> aiohttp.ClientResponse:
        self._asked = True
        response = await self._member.engine.session.post(
            self._path,
            data=orjson.dumps(self._body),
            headers=_STREAM_HEADERS if self._body.get("stream") else _HEADERS,
        )
        if response.status == 200:
            return response
        raise engine_error(response.status, await response.read())

    def _broken(self, error: Exception) -> EngineError:
        return EngineError(
            f"the engine of {self._member.name} broke off",
            why=f"its connection ended ({type(error).__name__})",
            next_step="It is being started again; send the request once more",
            retry_after=1,
        )
