"""One request at one engine: wait for slots, ask, relay.

Leaving the context gives the slots back and, unless the answer was read to its end, closes the
connection, upon which the engine stops the work: that is how a client's departure is passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import orjson

from server.chat import engine_error
from server.engines.client import EngineResponse
from server.engines.member import Member
from server.engines.slots import Lease
from server.errors import EngineError, EngineUnready, HoldfastError, Overloaded
from server.routing.progress import Answer
from server.units import format_duration

_OVERRUN = 3.0
"""Times what its prompts should take, for which an engine that shows nothing of its reading may
show nothing at all."""
_GONE = (ConnectionError, EngineUnready)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a request waits."""

    queue: float
    """For slots of an engine that is ready."""
    load: float
    """For an engine that is to be loaded, is loading, or is being started again."""
    first_token: float = 120.0
    """Before the first token, for an engine that computes nothing; a prefill may take any time."""
    token: float = 30.0
    """The same between two tokens, where no other request keeps the engine busy."""


class _EngineAnswer(Answer):
    """Its progress is every byte, and what the engine says it has computed."""

    def __init__(
        self,
        response: EngineResponse,
        member: Member,
        slots: int,
        patience: Patience,
        reading: Callable[[], float] | None,
    ) -> None:
        super().__init__(min(patience.first_token, patience.token))
        self.response = response
        self._member = member
        self._slots = slots
        self._patience = patience
        self._reading = reading

    async def open(self) -> None:
        """Wait for its head."""
        self._watch()
        await self._waited(self.response.head())

    def mark(self) -> int:
        return self.response.total_bytes

    def limit(self) -> float:
        """Between two tokens the engine may be reading the prompts of others, in one batch."""
        alone = self._member.queue.running <= self._slots
        limit = self._patience.token if self.mark() and alone else self._patience.first_token
        return limit if self._reading is None else max(limit, _OVERRUN * self._reading())

    async def look(self) -> object | None:
        return await self._member.engine.work()

    async def _next(self) -> bytes:
        return await self.response.read()

    def _interrupt(self) -> None:
        self.response.fail(TimeoutError("no progress"))

    def _end(self) -> None:
        self.response.close()


class Attempt:
    """An asynchronous context: entered, the engine has accepted the request and begun to answer.

    `slots`: how many the request needs at once; when it has got them it waits for `on_slot`, and
    then asks. `reading` gives the seconds that all prompts in the engine's hands should take it;
    None: it shows how it goes on with them, so that nobody has to know.

    Entering has the model loaded if it is not. It raises Overloaded when the queue is full or the
    wait too long, what keeps the model from being loaded, EngineError when its engine hangs or
    breaks twice, and what `chat.engine_error` makes of a refusal.
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
        on_slot: Callable[[], Awaitable[None]] | None = None,
        reading: Callable[[], float] | None = None,
    ) -> None:
        self._member = member
        self._path = path
        self._body = body
        self._patience = patience
        self._client = client
        self._slots = slots
        self._on_slot = on_slot
        self._reading = reading
        self._lease: Lease | None = None
        self._answer: _EngineAnswer | None = None
        self._asked = self._seated = False

    def describe(self) -> str:
        """What the request is waiting for, in words for people."""
        if self._asked:
            return "processing the prompt"
        return "reading other prompts first" if self._seated else self._member.describe()

    async def __aenter__(self) -> Attempt:
        again = True
        while True:
            self._lease = await self._take_slots()
            self._seated = True
            try:
                if self._on_slot is not None:
                    await self._on_slot()
                await self._ask()
                self._body = {}  # it will not be asked again, and the answer may take minutes
                return self
            except _GONE as error:
                self._let_go()
                if not again:
                    raise self._broken(error) from error
                # No byte of an answer was seen: to ask once more repeats nothing for the client.
                again = False
                # If it does not come back, what follows is the fleet's to say: in the queue.
                with contextlib.suppress(HoldfastError):
                    await self._member.engine.recovered(self._patience.load)
            except BaseException:
                self._let_go()
                raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()

    async def read(self) -> bytes:
        """The answer's next bytes, as they come; nothing at its end. Raises EngineError when the
        engine breaks or hangs."""
        assert self._answer is not None
        try:
            return await self._answer.read()
        except TimeoutError:
            raise self._hangs() from None
        except ConnectionError as error:
            raise self._broken(error) from error

    async def whole(self) -> bytes:
        """All that `read` gives from here on."""
        assert self._answer is not None
        pieces = []
        while not self._answer.response.ended and (piece := await self.read()):
            pieces.append(piece)
        return b"".join(pieces)

    def _let_go(self) -> None:
        if self._answer is not None:
            self._answer.close()
        if self._lease is not None:
            self._lease.release()

    async def _take_slots(self) -> Lease:
        self._asked = self._seated = False
        member = self._member
        lease = member.request(self._client, self._slots)
        if lease.take():
            return lease
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

    async def _ask(self) -> None:
        self._asked = True
        engine, body = self._member.engine, self._body
        # llama-server announces keep-alive for a streamed answer and then closes the connection:
        # used again, every other one fails (25 of 50 in a row).
        streamed = bool(body.get("stream"))
        if streamed and engine.launch.engine == "llama-server":
            # Its pings would look like progress; clients get comments of our own.
            body = body | {"sse_ping_interval": -1}
        response = await engine.client.post(self._path, orjson.dumps(body), once=streamed)
        answer = self._answer = _EngineAnswer(
            response, self._member, self._slots, self._patience, self._reading
        )
        try:
            await answer.open()
            if response.status != 200:
                error = engine_error(response.status, await answer.body())
                engine.answered(error)
                raise error
            engine.answered()
        except TimeoutError:
            raise self._hangs() from None

    def _hangs(self) -> EngineError:
        """The engine computes for nobody any more: whoever else waits for it had better know."""
        assert self._answer is not None
        why = f"it computed nothing for {format_duration(self._answer.limit())}"
        self._member.engine.replace(why)
        return EngineError(
            f"the engine of {self._member.name} hangs",
            why=why,
            next_step="It is being started again; send the request once more",
            retry_after=1,
        )

    def _broken(self, error: Exception) -> EngineError:
        return EngineError(
            f"the engine of {self._member.name} broke off",
            why=f"its connection ended ({type(error).__name__})",
            next_step="It is being started again; send the request once more",
            retry_after=1,
        )
