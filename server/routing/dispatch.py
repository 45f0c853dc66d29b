"""What was decided, done: attempts in their order, until one answers.

    async with dispatch.deliver(job) as delivery:      # until the first word, or HoldfastError
        delivery.candidate, delivery.attempts          # for the headers
        while piece := await delivery.read():          # HoldfastError where it breaks off
            ...
    delivery.usage, delivery.cost

Before the first word has come, nothing has reached the client, and what fails is retried or gone on
from; after it, what fails is told. Leaving the context, for whatever reason, ends every attempt
that is under way and settles what it did cost, once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Final

from server.chat.embeddings import EmbeddingRequest
from server.chat.relay import Relay
from server.chat.usage import Usage
from server.errors import BudgetExceeded, ContextExceeded, HoldfastError, NoRoute, RequestError
from server.ledger.entry import Outcome
from server.routing import ledgering
from server.routing.candidate import Candidate
from server.routing.cloud_leg import CloudLeg
from server.routing.embedding_legs import CloudEmbeddingLeg, LocalEmbeddingLeg
from server.routing.hedge import first_to_begin
from server.routing.ledgering import Bill, Course
from server.routing.leg import Job, Leg
from server.routing.local_leg import LocalLeg
from server.routing.means import Means
from server.routing.retry import pause_before, worth_retrying
from server.routing.targets import Target

log = logging.getLogger("holdfast")

MOST_SHADOWS: Final = 8
"""Shadow copies under way at a time; what would be more is not sent."""


class Dispatch:
    """`means` may be replaced at any time; what is under way goes on with those it began with."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self._shadows: set[asyncio.Task[None]] = set()

    def deliver(self, job: Job) -> Delivery:
        """An answer to `job`: a context, see above."""
        self._load(job)
        self._shadow(job)
        return Delivery(job, self.means)

    async def close(self) -> None:
        """End the shadow copies."""
        for task in self._shadows:
            task.cancel()
        await asyncio.gather(*self._shadows, return_exceptions=True)

    def _load(self, job: Job) -> None:
        """Have the local model loaded in whose place a cloud answers."""
        wanted = job.decision.load
        if wanted is not None and isinstance(wanted.target, Target):
            wanted.target.member.want()  # whether it came to be, the next decision will see

    def _shadow(self, job: Job) -> None:
        candidate, account = job.decision.shadow, job.shadow_account
        if candidate is None or account is None or len(self._shadows) >= MOST_SHADOWS:
            return
        if isinstance(candidate.target, Target) and not candidate.target.member.ready:
            return  # nobody waits for it: nothing is loaded, or unloaded, for its sake
        needs = replace(job.needs, session=None)  # where that goes, the client's own request says
        copy = replace(job, needs=needs, account=account, capable=(), trace=None)
        task = asyncio.create_task(_drain(_leg(copy, candidate, self.means)))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)


class Delivery:
    """One request and its answer. Made by `Dispatch.deliver`."""

    def __init__(self, job: Job, means: Means) -> None:
        self.attempts = 0
        """Made so far, retries and hedges included."""
        self.cost = 0
        """Nano-USD, of all attempts: of those that failed too. Whole once the context is left;
        before, the one that answers counts as nothing yet."""
        self._job = job
        self._means = means
        self._leg: Leg | None = None
        self._asked: Leg | None = None
        self._first = b""
        self._error: HoldfastError | None = None
        self._whole = False
        self._cut: Outcome = "left"
        """How it has ended if it does so before its time."""

    @property
    def candidate(self) -> Candidate:
        """Who answers; until that is known, who is being asked."""
        leg = self._leg or self._asked
        return self._job.decision.attempts[0] if leg is None else leg.candidate

    @property
    def bound(self) -> int | None:
        """Tokens that the answer was bounded to, as the budget does not cover a longer one."""
        return None if self._leg is None else self._leg.bound

    @property
    def reason(self) -> str:
        return self._job.decision.reason

    @property
    def usage(self) -> Usage | None:
        """Known at the end."""
        return None if self._leg is None else self._leg.usage

    @property
    def relay(self) -> Relay | None:
        """That of the one who answers; each attempt, hedge and shadow copy has its own."""
        return None if self._leg is None else self._leg.relay

    def describe(self) -> str:
        """What the request is waiting for, in words for people."""
        return "waiting" if self._asked is None else self._asked.describe()

    def abort(self) -> None:
        """It is about to be cancelled, and its client, which has not left, to be told why."""
        self._cut = "failed"

    async def __aenter__(self) -> Delivery:
        self._means.budget.deposit()
        try:
            self._leg, self._first = await self._begin(self._job.decision.attempts)
        except HoldfastError as error:
            self._record("failed", refused=isinstance(error, BudgetExceeded))
            raise
        except BaseException:
            self._record(self._cut)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._leg is not None
        outcome: Outcome = "answered" if self._whole else self._cut
        broke, self._error = self._error, None  # whose traceback knows this delivery
        if broke is not None:
            outcome = "failed"
        await self._end(self._leg, outcome, broke, final=True)

    async def read(self) -> bytes:
        """The answer's next part for the client, in whole events, or in one piece where it is not
        streamed; nothing at its end."""
        assert self._leg is not None
        piece, self._first = self._first, b""
        if not piece:
            try:
                piece = await self._leg.more()
            except HoldfastError as error:
                self._error = error
                raise
            self._whole = not piece
        return piece

    # ---- Until the first word ----

    async def _begin(self, attempts: Sequence[Candidate]) -> tuple[Leg, bytes]:
        after = self._job.decision.hedge_after
        errors: list[HoldfastError] = []
        try:
            if after is None or len(attempts) < 2:
                begun = await self._in_order(attempts, errors)
            else:
                begun = await first_to_begin(
                    lambda: self._in_order(attempts[:1], errors),
                    lambda: self._in_order(attempts[1:], errors),
                    after,
                    self._means.budget.withdraw,
                    lambda late: self._end(late[0], "left", None, final=False),
                )
            if begun is not None:
                return begun
            raise _most_hopeful(errors)
        finally:
            errors.clear()  # their tracebacks know this list, and the whole request

    async def _in_order(
        self, attempts: Sequence[Candidate], errors: list[HoldfastError]
    ) -> tuple[Leg, bytes] | None:
        """The first of them to begin; None where none does. `errors`: what the request has failed
        with so far, here and elsewhere."""
        last = self._job.decision.attempts[-1]
        for candidate in attempts:
            if not all(map(_may_be_mended, errors)):
                break
            try:
                return await self._at(candidate, others=candidate is not last)
            except HoldfastError as error:
                errors.append(error)
        return None

    async def _at(self, candidate: Candidate, *, others: bool) -> tuple[Leg, bytes]:
        """At one target, as often as is worth while. Raises what the last try failed with."""
        means = self._means
        for tries in count(1):
            self.attempts += 1
            leg = self._asked = _leg(self._job, candidate, means)
            try:
                return leg, await leg.begin()
            except HoldfastError as error:
                await self._end(leg, "failed", error, final=False)
                wait = pause_before(tries, random.random(), error.retry_after)  # noqa: S311
                retries = means.router.retries
                if not worth_retrying(error, tries, retries, wait, others=others):
                    raise
                if not means.budget.withdraw():
                    raise
            except BaseException:
                await self._end(leg, self._cut, None, final=False)
                raise
            await asyncio.sleep(wait)
        raise AssertionError

    async def _end(
        self, leg: Leg, outcome: Outcome, error: HoldfastError | None, *, final: bool
    ) -> None:
        bill: Bill = await leg.end(outcome, error, final=final, attempts=self.attempts)
        self.cost += bill.cost

    def _record(self, outcome: Outcome, *, refused: bool = False) -> None:
        """Write down a request that nothing answered; with the engine that was about to, if one
        was: what was done for it was done there. `refused`: no budget had room for it, and nothing
        was done."""
        course = Course(
            time=self._job.time,
            request_id=self._job.request_id,
            reason=self.reason,
            attempts=self.attempts,
            ttft=None,
            seconds=time.monotonic() - self._job.began,
            outcome=outcome,
            final=True,
            private=self._job.decision.local_only,
        )
        asked = None if self._asked is None else self._asked.candidate
        if refused or (asked is not None and asked.side == "cloud"):
            asked = None  # what a cloud did cost has an entry of its own
        entry = ledgering.entry(self._job.needs, asked, ledgering.FREE, course)
        self._means.book.record(entry)
        self._means.tell(entry)


def _leg(job: Job, candidate: Candidate, means: Means) -> Leg:
    local = candidate.side == "local"
    if isinstance(job.request, EmbeddingRequest):
        return (LocalEmbeddingLeg if local else CloudEmbeddingLeg)(job, candidate, means)
    return (LocalLeg if local else CloudLeg)(job, candidate, means)


def _may_be_mended(error: HoldfastError) -> bool:
    """Whether another target may succeed where one failed with `error`. What is wrong with the
    request itself is wrong everywhere, but for what this one target cannot do."""
    return not isinstance(error, RequestError) or isinstance(error, ContextExceeded | NoRoute)


def _most_hopeful(errors: Sequence[HoldfastError]) -> HoldfastError:
    """Of all targets' errors the one to tell: what no target can mend; else the last of those after
    which it is worth asking again, else of those that are not about what one target can do."""
    wrong = [error for error in errors if not _may_be_mended(error)]
    later = [error for error in errors if error.retry_after is not None]
    other = [error for error in errors if not isinstance(error, RequestError)]
    told = (wrong or later or other or errors)[-1]
    return told.__cause__ if isinstance(told.__cause__, RequestError) else told


async def _drain(leg: Leg) -> None:
    """A shadow copy: asked like any other request, and its answer thrown away."""
    error: HoldfastError | None = None
    outcome: Outcome = "left"
    try:
        await leg.begin()
        while await leg.more():
            pass
        outcome = "answered"
    except HoldfastError as failure:
        outcome, error = "failed", failure
        log.info("a shadow copy to %s failed: %s", leg.candidate.name, failure.what)
    finally:
        await leg.end(outcome, error, final=False)
