"""One try at one target, from what is set aside for it to what is charged.

`begin` asks and waits for what the client can be shown; `more` gives what follows; `end` settles,
whatever has happened. Until `begin` has returned nothing has reached the client, and another leg
may take over.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import ClassVar

from server.catalogue.cloud import CloudModel
from server.chat.embeddings import EmbeddingRequest
from server.chat.relay import Decoder, Relay, Translation
from server.chat.request import ChatRequest, CompletionRequest
from server.chat.usage import Usage
from server.errors import HoldfastError, NoRoute, RequestError
from server.ledger.account import Account
from server.ledger.book import Hold
from server.ledger.entry import Outcome
from server.record import record
from server.routing import ledgering
from server.routing.candidate import Candidate
from server.routing.decision import Decision
from server.routing.ledgering import Bill, Course
from server.routing.means import Flight, Means
from server.routing.needs import Needs
from server.routing.trace import Trace, Tried

Request = ChatRequest | CompletionRequest | EmbeddingRequest
RelayFor = Callable[[Candidate, Decoder | None], Relay]
"""Makes the relay of one target's stream to the client. The decoder reads a cloud's stream, and is
None for an engine's; an engine's answer that is not streamed is fed in one piece, and `done` then.
"""


@record(kw_only=True)
class Job:
    """A request that was decided on."""

    request: Request
    """As a target is asked: one that is not to be streamed is fed to the relay in one piece, if an
    engine answers it; clouds always stream."""
    needs: Needs
    decision: Decision
    account: Account
    request_id: str
    relay_for: RelayFor
    capable: Sequence[CloudModel] = ()
    """Clouds that could have answered: what is saved is measured by the cheapest of them."""
    shadow_account: Account | None = None
    trace: Trace | None = None
    """Who hears of each attempt; None: nobody."""
    began: float = field(default_factory=time.monotonic)
    """When it came, of a clock that is never set."""
    time: float = field(default_factory=time.time)
    """The same in seconds since 1970."""


class Leg(abc.ABC):
    """See the module. `local_leg.py` and `cloud_leg.py` have the two kinds for answers, and
    `embedding_legs.py` those for embeddings."""

    teaches: ClassVar[bool] = True
    """Whether forecasts of answers learn from it."""

    def __init__(self, job: Job, candidate: Candidate, means: Means) -> None:
        self.candidate = candidate
        self.job = job
        self._means = means
        self._relay: Relay | None = None
        self._hold: Hold | None = None
        self._began = time.monotonic()
        self._first_at: float | None = None
        self._unheard = not self.teaches
        """Whether its answer came whole, and nobody can tell when it began."""
        self.bound: int | None = None
        """Tokens that its answer was bounded to, as the budget does not cover the longest."""
        self._flight: Flight | None = None
        self._ended = False
        self._pieces = 0

    @property
    def relay(self) -> Relay | None:
        """Known once the target has accepted."""
        return self._relay

    @property
    def usage(self) -> Usage | None:
        return None if self._relay is None else self._relay.usage

    @abc.abstractmethod
    def describe(self) -> str:
        """What it is waiting for, in words for people."""

    @abc.abstractmethod
    async def _open(self) -> Relay:
        """Set aside what it may use, ask, and have the target accept."""

    @abc.abstractmethod
    async def _read(self) -> bytes:
        """What the target has said since; nothing at the end."""

    @abc.abstractmethod
    async def _close(self) -> None:
        """Let go of the target."""

    @abc.abstractmethod
    def _bill(self) -> Bill:
        """What it is charged with."""

    @abc.abstractmethod
    def _saw(self, error: HoldfastError | None, *, seen_out: bool, tokens: int) -> None:
        """Note how it ended; `seen_out` False: we broke it off. `tokens` are what it took."""

    @abc.abstractmethod
    def _incomplete(self) -> HoldfastError:
        """For an answer that ended before it was complete."""

    async def begin(self) -> bytes:
        """The first bytes for the client, with a word in them, or the whole of an empty answer.

        Raises HoldfastError; `end` must follow in any case.
        """
        relay = self._relay = await self._open()
        speaks = relay if isinstance(relay, Translation) else None
        held = b""
        while chunk := await self._read():
            held += relay.feed(chunk)
            if speaks is not None and speaks.broken is not None:
                raise speaks.broken
            if relay.error is not None:
                raise relay.error
            if held and (speaks is None or speaks.spoke or relay.done):
                break
        else:
            self._check_whole()
        self._means.breakers.spoke(self.candidate.name)
        if self._first_at is None and not self._unheard:
            self._hear(time.monotonic())
        return held

    def _limit(self, tokens: int) -> None:
        """Ask for an answer of at most so many tokens."""
        request = self.job.request
        assert not isinstance(request, EmbeddingRequest)
        self.bound = tokens
        self.job = replace(
            self.job,
            request=replace(request, max_tokens=tokens),
            needs=replace(self.job.needs, max_tokens=tokens),
        )

    def _hear(self, at: float) -> None:
        """The first token has come. `at`: monotonic seconds."""
        self._first_at = at
        if self._flight is not None:
            self._flight.first(at)

    async def more(self) -> bytes:
        """What follows; nothing at the end. Raises HoldfastError where it breaks off, unless the
        relay has told."""
        relay = self._relay
        assert relay is not None
        if isinstance(relay, Translation) and relay.broken is not None:
            raise relay.broken
        while not relay.done and (chunk := await self._read()):
            self._pieces += 1
            if out := relay.feed(chunk):
                return out
        self._check_whole()
        return b""

    async def end(self, outcome: Outcome, error: HoldfastError | None = None, *,
                  final: bool = True, attempts: int = 1) -> Bill:  # fmt: skip
        """Let go of the target, and charge. Only the first call counts."""
        if self._ended:
            return ledgering.FREE
        self._ended = True
        broke = self._relay.error if self._relay is not None else None
        if outcome == "answered" and broke is not None:
            outcome, error = "failed", broke
        seen_out = outcome == "answered" or error is not None
        try:
            await self._close()
        finally:
            bill = self._settle(outcome, final, attempts)
            self._saw(error, seen_out=seen_out, tokens=bill.usage.total_tokens)
            if self._flight is not None:
                told = bill.usage if outcome == "answered" and self.teaches else None
                self._flight.end(time.monotonic(), told)
            if self.job.trace is not None:
                self._trace(self.job.trace, outcome, error, bill)
        return bill

    def _trace(
        self, trace: Trace, outcome: Outcome, error: HoldfastError | None, bill: Bill
    ) -> None:
        tried = Tried(
            candidate=self.candidate,
            began=self._began,
            first_at=self._first_at,
            ended=time.monotonic(),
            outcome=outcome,
            error=error,
            usage=bill.usage,
            cost=bill.cost,
        )
        trace.tried.append(tried)

    def _settle(self, outcome: Outcome, final: bool, attempts: int) -> Bill:
        """An attempt that cost nothing, and after which the request goes on, leaves no entry."""
        bill = self._bill()
        if self._hold is None:
            return bill
        if not final and not bill.cost:
            self._means.book.release(self._hold)
            return bill
        waited = self._began - self.job.began if final else 0.0
        course = Course(
            time=self.job.time,
            request_id=self.job.request_id,
            reason=self.job.decision.reason,
            attempts=attempts,
            ttft=None if self._first_at is None else self._first_at - self._began,
            seconds=waited + time.monotonic() - self._began,
            waited=waited,
            outcome=outcome,
            final=final,
            private=self.job.decision.local_only,
            shadow=self.job.account.shadow,
        )
        entry = ledgering.entry(
            self.job.needs, self.candidate, bill, course, self.job.capable if final else ()
        )
        self._means.book.settle(self._hold, entry)
        self._means.tell(entry)
        return bill

    def _check_whole(self) -> None:
        assert self._relay is not None
        if not self._relay.done and self._relay.error is None:
            raise self._incomplete()


def cannot(candidate: Candidate, error: RequestError) -> NoRoute:
    """For a request that `candidate` cannot be asked, as others perhaps can: caused by `error`."""
    refusal = NoRoute(f"{candidate.name} cannot do what is asked", why=error.what)
    refusal.__cause__ = error
    return refusal
