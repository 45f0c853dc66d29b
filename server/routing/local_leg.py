"""One try at an engine of this machine; see leg.py."""

from __future__ import annotations

import re
import time

from server.chat import engine_body
from server.chat.embeddings import EmbeddingRequest
from server.chat.relay import Relay
from server.chat.usage import Usage
from server.errors import BudgetExceeded, EngineError, HoldfastError, RequestError
from server.ledger.entry import NOTHING
from server.routing import ledgering
from server.routing.attempt import Attempt
from server.routing.candidate import Candidate
from server.routing.ledgering import Bill
from server.routing.leg import Job, Leg, cannot
from server.routing.means import Means
from server.routing.targets import Target

_WRITING = re.compile(rb'"predicted_ms":([0-9]+(?:\.[0-9]+)?)')


class LocalLeg(Leg):
    def __init__(self, job: Job, candidate: Candidate, means: Means) -> None:
        super().__init__(job, candidate, means)
        assert isinstance(candidate.target, Target)
        self._target = candidate.target
        self._attempt: Attempt | None = None
        self._asked = False

    def describe(self) -> str:
        if self._attempt is not None:
            return self._attempt.describe()
        return self._target.member.describe()

    async def _open(self) -> Relay:
        job, needs, target = self.job, self.job.needs, self._target
        assert not isinstance(job.request, EmbeddingRequest)
        try:
            body = engine_body(
                job.request,
                model=target.model,
                has_mmproj=target.sees,
                slots=target.member.queue.slots,
                context=target.context,
                engine=target.build.engine,
            )
        except RequestError as error:
            raise cannot(self.candidate, error) from error
        tokens = ledgering.local_tokens(needs, self.candidate)
        try:
            self._hold = self._means.book.claim(job.account, tokens)
        except BudgetExceeded:
            room = self._means.book.room(job.account)
            bound = ledgering.local_bound(room, needs, self.candidate)
            if bound is None:
                raise
            self._limit(bound)
            return await self._open()
        self._admit()
        flight = self._flight = self._means.begin(self.candidate, needs)
        attempt = Attempt(
            target.member,
            job.request.path,
            body,
            client=needs.key,
            slots=job.request.n,
            patience=self._means.patience,
            on_slot=None if flight is None else flight.turn,
            reading=None if flight is None or target.tells_steps else flight.reading,
        )
        self._attempt = attempt
        await attempt.__aenter__()
        return job.relay_for(self.candidate, None)

    async def _read(self) -> bytes:
        """Of an answer that is not streamed all; when its first token came is noted even so."""
        attempt, request = self._attempt, self.job.request
        assert attempt is not None
        first = await attempt.read()
        if request.stream or not first:
            return first
        if request.folds:
            self._hear(time.monotonic())
        answer = first + await attempt.whole()
        if not request.folds:
            self._backdate(answer)
        return answer

    def _admit(self) -> None:
        """Whatever its breaker says, it is asked: one that is left alone was decided on only where
        nothing else may answer. Of one whose pause is over this is the probe."""
        self._means.breakers.admit(self.candidate.name)
        self._asked = True

    async def _close(self) -> None:
        if self._attempt is not None:
            await self._attempt.__aexit__(None, None, None)

    def _bill(self) -> Bill:
        usage = self.usage
        if usage is None and self._first_at is not None:  # an event is a token, most of the time
            prompt = self.candidate.prompt_tokens or self.job.needs.prompt_tokens
            usage = Usage(prompt, 1 + self._pieces)
        return Bill(usage or NOTHING, 0)

    def _backdate(self, answer: bytes) -> None:
        """llama-server tells how long the writing took, vLLM does not."""
        told = _WRITING.search(answer)
        if told is None:
            self._unheard = True
        else:
            self._hear(time.monotonic() - float(told[1]) / 1000)

    def _saw(self, error: HoldfastError | None, *, seen_out: bool, tokens: int) -> None:
        if self._asked:
            self._means.breakers.end(self.candidate.name, error, seen_out=seen_out)

    def _incomplete(self) -> HoldfastError:
        return EngineError(
            "the engine ended its answer before it was complete",
            next_step="Send the request again",
        )
