"""One try at embeddings; see leg.py.

An engine gets as many inputs at a time as slots are free just then, one at the least: it works on
them together, and whoever else waits for a slot gets the next one, however long the batch is. A
cloud gets all of them in one call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from server.chat.embeddings import EmbeddingRequest, Input, engine_embedding_body
from server.chat.events import Event
from server.chat.relay import Relay
from server.chat.usage import Usage
from server.chat.vectors import not_shorter
from server.errors import HoldfastError, NoRoute, RequestError
from server.ledger.entry import NOTHING
from server.providers import EMBEDDERS
from server.providers.provider import Call, CloudProtocol
from server.routing.attempt import Attempt
from server.routing.candidate import Candidate
from server.routing.cloud_attempt import CloudAttempt, Reading
from server.routing.cloud_leg import CloudLeg
from server.routing.ledgering import Bill
from server.routing.leg import Job, cannot
from server.routing.local_leg import LocalLeg
from server.routing.means import Means

Error = TypeVar("Error", bound=HoldfastError)


class LocalEmbeddingLeg(LocalLeg):
    teaches = False

    def __init__(self, job: Job, candidate: Candidate, means: Means) -> None:
        super().__init__(job, candidate, means)
        assert isinstance(job.request, EmbeddingRequest)
        self._request = job.request
        self._rest = job.request.inputs
        self._on_slot: Callable[[], Awaitable[None]] | None = None

    async def _open(self) -> Relay:
        job, own = self.job, self._target.model.architecture.hidden
        if self._request.dimensions not in (None, own):
            error = not_shorter(own)
            raise cannot(self.candidate, error) from error
        self._hold = self._means.book.claim(job.account, job.needs.prompt_tokens)
        self._admit()
        flight = self._flight = self._means.begin(self.candidate, job.needs)
        if flight is not None:
            self._on_slot = flight.turn
        return job.relay_for(self.candidate, None)

    async def _read(self) -> bytes:
        """The answer for as many of the inputs as there are slots."""
        if not self._rest:
            return b""
        while True:
            inputs = self._rest[: self._free()]
            try:
                answer = await self._answer(inputs)
            except RequestError:
                if len(inputs) <= self._target.member.queue.slots:
                    raise
                continue  # its engine died, and came back with fewer slots
            self._rest = self._rest[len(inputs) :]
            return answer

    def _free(self) -> int:
        """Slots to ask for. Who has to wait asks for one: how many there will be by then, as of a
        model that is still to be loaded, nobody knows."""
        member = self._target.member
        queue = member.queue
        if queue.waiting or not member.ready:
            return 1
        return max(1, queue.slots - queue.running)

    async def _answer(self, inputs: tuple[Input, ...]) -> bytes:
        attempt = self._attempt = Attempt(
            self._target.member,
            self._request.path,
            engine_embedding_body(self._request, inputs),
            client=self.job.needs.key,
            slots=len(inputs),
            patience=self._means.patience,
            on_slot=self._on_slot,
        )
        try:
            async with attempt:
                return await attempt.whole()
        except RequestError as error:
            raise _of_input(error) from error.__cause__

    def _bill(self) -> Bill:
        return Bill(self.usage or NOTHING, 0)


class CloudEmbeddingLeg(CloudLeg):
    teaches = False

    def _encoded(self) -> Call:
        assert isinstance(self.job.request, EmbeddingRequest)
        embedder = EMBEDDERS.get(self._provider.kind)
        if embedder is None:
            raise NoRoute(f"{self._provider.id} makes no embeddings", param="model")
        return embedder.encode(self.job.request, self._model)

    def _reading(self, protocol: CloudProtocol) -> Reading:
        def failure(status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
            return _of_input(protocol.failure(status, headers, body))

        return Reading(protocol.authentication, failure, _Unread, _Unread)

    async def _read(self) -> bytes:
        """The whole answer in one piece, whatever type it is said to be of."""
        assert self._attempt is not None
        pieces = []
        while piece := await self._attempt.read():
            pieces.append(piece)
        if not pieces:
            return b""
        tokens = self.candidate.prompt_tokens or self.job.needs.prompt_tokens
        read = EMBEDDERS[self._provider.kind].read
        return read(b"".join(pieces), self._model, tokens)

    def _usage(self, attempt: CloudAttempt) -> tuple[Usage | None, bool]:
        return self.usage, self.relay is not None and self.relay.done


class _Unread:
    """The decoder of what is read as it is, by the relay."""

    def feed(self, chunk: bytes) -> list[Event]:
        return []


def _of_input(error: Error) -> Error:
    """What an error of chats calls the messages or the prompt is the input here."""
    if error.param in ("messages", "prompt"):
        error.param = "input"
    return error
