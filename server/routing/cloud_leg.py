"""One try at a cloud; see leg.py."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from server.catalogue.cloud import CloudModel, Kind
from server.catalogue.router import Limits as SpendingLimits
from server.chat.relay import Relay
from server.chat.request import ChatRequest
from server.chat.usage import Usage
from server.errors import HoldfastError, NoRoute, ProviderBusy, ProviderError, RequestError
from server.ledger.account import Party
from server.ledger.admission import Pass
from server.providers.effort import asked_effort
from server.providers.permit import check_may_leave, permit
from server.providers.provider import Call, CloudProtocol
from server.providers.quota import UNTOLD
from server.routing import ledgering
from server.routing.candidate import Candidate
from server.routing.cloud_attempt import CloudAttempt, Limits, Reading, reading
from server.routing.ledgering import FREE, Bill, Held
from server.routing.leg import Job, Leg, cannot
from server.routing.means import Means


def _heard_quota(means: Means, kind: Kind, name: str, headers: Mapping[str, str]) -> None:
    """The headers of an answer of the cloud's model `name`."""
    quota = means.protocols[kind].quota(headers)
    if quota != UNTOLD:
        means.allow(name, quota)


class CloudLeg(Leg):
    def __init__(self, job: Job, candidate: Candidate, means: Means) -> None:
        super().__init__(job, candidate, means)
        assert isinstance(candidate.target, CloudModel)
        self._model = candidate.target
        self._provider = means.providers[self._model.provider]
        self._attempt: CloudAttempt | None = None
        self._asked = False
        self._place: Pass | None = None

    def describe(self) -> str:
        return f"waiting for {self._provider.id}"

    async def _open(self) -> Relay:
        job, means = self.job, self._means
        check_may_leave(job.needs, job.decision, router=means.router)
        try:
            call = self._encoded()
        except RequestError as error:
            raise cannot(self.candidate, error) from error
        wanted = ledgering.reservation(
            job.time, job.request_id, job.needs, self._model, self._provider, call
        )
        if job.needs.max_tokens is None and not self._model.embeddings:
            room = means.book.room(job.account)
            bound = ledgering.bound(room, wanted, self._model, job.needs)
            if bound is not None:
                self._limit(bound)
                return await self._open()
        self._admit()
        self._hold = await means.book.reserve(job.account, wanted)
        leave = permit(job.needs, job.decision, router=means.router, hold=Held(self._hold, wanted))
        limits = Limits(means.router.first_token_timeout, means.router.token_timeout)
        read = self._reading(means.protocols[self._provider.kind])
        attempt = CloudAttempt(means.egress, self._provider, read, call, leave, limits)
        self._attempt = attempt
        # Not a method of this leg: the two would know each other, and stay in memory.
        self._attempt.on_head = partial(
            _heard_quota, means, self._provider.kind, self.candidate.name
        )
        self._flight = means.begin(self.candidate, job.needs)
        if self._flight is not None:
            self._flight.started(time.monotonic())
        await attempt.__aenter__()
        return job.relay_for(self.candidate, attempt.tally)

    async def _read(self) -> bytes:
        assert self._attempt is not None
        return await self._attempt.read()

    def _encoded(self) -> Call:
        """Raises RequestError for what this target cannot be asked."""
        request = self.job.request
        if not isinstance(request, ChatRequest):
            raise NoRoute(f"{self.candidate.name} is asked for chats only", param="model")
        return self._means.protocols[self._provider.kind].encode(request, self._model)

    def _reading(self, protocol: CloudProtocol) -> Reading:
        assert isinstance(self.job.request, ChatRequest)
        return reading(protocol, self.job.request)

    def _usage(self, attempt: CloudAttempt) -> tuple[Usage | None, bool]:
        """What it says that it used, and whether it came to its end."""
        return attempt.tally.usage, attempt.tally.ended

    def _admit(self) -> None:
        """Raises ProviderBusy while the target is left alone, RateLimited where what its provider
        allows us in a minute is used up."""
        name, breakers = self.candidate.name, self._means.breakers
        if not breakers.admit(name):
            raise ProviderBusy(
                f"{name} is not asked just now",
                why=breakers.down(name),
                retry_after=breakers.wait(name),
            )
        self._asked = True
        provider = self._provider
        limits = SpendingLimits(
            rpm=provider.rpm, tpm=provider.tpm, concurrency=provider.concurrency
        )
        needs = self.job.needs
        tokens = needs.prompt_tokens + needs.n * (needs.max_tokens or 0)
        self._place = self._means.admission.admit((Party("provider", provider.id, limits),), tokens)

    async def _close(self) -> None:
        if self._attempt is not None:
            try:
                if self._attempt.tally.ended:
                    await self._attempt.finish()
            finally:
                await self._attempt.__aexit__(None, None, None)

    def _bill(self) -> Bill:
        attempt = self._attempt
        if attempt is None or self._hold is None:
            return FREE
        usage, ended = self._usage(attempt)
        request, needs, tally = self.job.request, self.job.needs, attempt.tally
        effort = asked_effort(request) if isinstance(request, ChatRequest) else None
        return ledgering.bill(
            attempt.reached,
            usage,
            ended,
            tally.counted,
            self.candidate.prompt_tokens or needs.prompt_tokens,
            self._model,
            self._hold.cost,
            n=needs.n,
            thought=ledgering.thought(self._model, needs, effort, tally),
        )

    def _saw(self, error: HoldfastError | None, *, seen_out: bool, tokens: int) -> None:
        if self._place is not None:
            self._place.used(tokens)
            self._place.release()
        if self._asked:
            limited = self._attempt is not None and self._attempt.limited
            name = self.candidate.name
            self._means.breakers.end(name, error, limited=limited, seen_out=seen_out)

    def _incomplete(self) -> HoldfastError:
        return ProviderError(
            f"{self._provider.id} ended its answer before it was complete",
            next_step="Send the request again",
        )
