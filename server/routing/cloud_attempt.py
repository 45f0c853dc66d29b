"""One request at one cloud: send, relay. The shape of `attempt.Attempt`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal

import aiohttp

from server.catalogue.cloud import Provider
from server.chat.events import Event
from server.chat.relay import Decoder
from server.chat.request import ChatRequest
from server.errors import HoldfastError, ProviderError
from server.providers.egress import Egress, broken
from server.providers.permit import Permit
from server.providers.provider import Call, CloudProtocol
from server.routing.progress import WebAnswer
from server.routing.tally import Tally
from server.units import MIB, format_duration

_LARGEST_ANSWER: Final = 64 * MIB
_LARGEST_FAILURE: Final = MIB // 16
_FAILURE_TIMEOUT: Final = 5.0  # seconds for the body of an error
_LINGER: Final = 0.25  # seconds

Reached = Literal["nothing", "sent", "refused", "accepted"]
"""How far a call came: it never left, nobody knows, the provider declined it, or it took it on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds without progress."""

    first_token: float
    token: float
    """Between two tokens."""


class _CloudAnswer(WebAnswer):
    """Its progress is what it says; of one that comes whole, every byte."""

    def __init__(self, limits: Limits, tally: Tally) -> None:
        super().__init__(min(limits.first_token, limits.token))
        self.tally = tally
        self.whole = False
        self._limits = limits

    def mark(self) -> int:
        if self.whole and self.response is not None:
            return self.response.content.total_bytes
        return self.tally.steps

    def limit(self) -> float:
        return self._limits.token if self.tally.spoke else self._limits.first_token


@dataclass(frozen=True, slots=True)
class Reading:
    """How a cloud is spoken to: what of its protocol depends on the kind of request."""

    authentication: Callable[[str], Mapping[str, str]]
    failure: Callable[[int, Mapping[str, str], bytes], HoldfastError]
    """As CloudProtocol has these two."""
    stream: Callable[[], Decoder]
    """Makes the decoder of an answer that comes as a stream."""
    whole: Callable[[], Decoder]
    """And of one that comes in one piece."""


def reading(protocol: CloudProtocol, request: ChatRequest) -> Reading:
    """How an answer to `request` is read."""
    return Reading(
        protocol.authentication,
        protocol.failure,
        lambda: protocol.decoder(request),
        lambda: _Whole(protocol, request),
    )


class CloudAttempt:
    """An asynchronous context: entered, the cloud has accepted the request.

    Entering raises what `Egress.send` does, what the protocol makes of a refusal, and ProviderError
    when nothing comes. Leaving closes the connection unless the answer was read to its end.
    """

    def __init__(
        self,
        egress: Egress,
        provider: Provider,
        reading: Reading,
        call: Call,
        permit: Permit,
        limits: Limits,
    ) -> None:
        self._egress = egress
        self._provider = provider
        self._reading = reading
        self._call = call
        self._permit = permit
        self._answer = _CloudAnswer(limits, Tally(reading.stream()))
        self._size = 0
        self.on_head: Callable[[Mapping[str, str]], None] = lambda headers: None
        """Called with the headers of its answer, whatever its status."""
        self.reached: Reached = "nothing"
        self.limited = False
        """Whether it was declined because we ask too much (429)."""

    @property
    def tally(self) -> Tally:
        """Decodes the answer, and counts. Once the context is entered it is the right one."""
        return self._answer.tally

    def describe(self) -> str:
        """What the request is waiting for, in words for people."""
        return f"waiting for {self._provider.id}"

    async def __aenter__(self) -> CloudAttempt:
        try:
            await self._enter()
        except BaseException:
            self._answer.close()
            raise
        del self._call, self._permit  # each has the whole body, and the answer may take minutes
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._answer.close()

    async def read(self) -> bytes:
        """The answer's next bytes, for `tally` to decode, nothing at its end; one that did not come
        as a stream whole. Raises ProviderError when it breaks off, stalls, or has no end."""
        answer = self._answer
        try:
            chunk = await (answer.body(_LARGEST_ANSWER) if answer.whole else answer.read())
        except TimeoutError:
            raise self._stalled() from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise broken(self._provider, error) from None
        self._size += len(chunk)
        if self._size > _LARGEST_ANSWER:
            raise self._failed("its answer has no end")
        return chunk

    async def finish(self) -> None:
        """Once the answer has come to its end: wait a moment for that of the connection's part in
        it, which then serves the next request."""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_LINGER):
                while await self._answer.read():
                    pass

    async def _enter(self) -> None:
        sending = self._egress.send(
            self._permit, self._provider, self._call, self._reading.authentication
        )
        try:
            response = await self._answer.open(sending)
        except TimeoutError:
            self.reached = "sent"
            raise self._stalled() from None
        except HoldfastError as error:
            if type(error) is ProviderError:
                self.reached = "sent"
            raise
        except asyncio.CancelledError:
            self.reached = "sent"
            raise
        self.on_head(response.headers)
        if response.status != 200:
            self.reached = "refused"
            self.limited = response.status == 429
            raise self._reading.failure(response.status, response.headers, await self._failure())
        self.reached = "accepted"
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._failed("it sends a compressed answer that was not asked for")
        if response.content_type == "application/json":
            self._answer.whole = True
            self._answer.tally.decoder = self._reading.whole()

    async def _failure(self) -> bytes:
        """What it says about a failure; less, where that does not come."""
        try:
            async with asyncio.timeout(_FAILURE_TIMEOUT):
                return await self._answer.body(_LARGEST_FAILURE)
        except (aiohttp.ClientError, OSError):  # a TimeoutError is an OSError
            return b""

    def _stalled(self) -> ProviderError:
        return self._failed(f"it made no progress for {format_duration(self._answer.limit())}")

    def _failed(self, why: str) -> ProviderError:
        return ProviderError(
            f"{self._provider.id} failed on this request",
            why=why,
            next_step="Send the request again",
        )


class _Whole:
    """The decoder of an answer that comes in one piece."""

    def __init__(self, protocol: CloudProtocol, request: ChatRequest) -> None:
        self._protocol = protocol
        self._request = request

    def feed(self, chunk: bytes) -> list[Event]:
        return self._protocol.decode(chunk, self._request)
