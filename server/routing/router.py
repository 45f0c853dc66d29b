"""The router: one for each Holdfast. It knows what there is, decides, and has it done.

What it works with is made anew when the configuration is read again, or when the fleet serves other
builds; what it has learnt stays, and requests under way go on with what they began with.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from server.catalogue import Catalogue
from server.catalogue.cloud import CloudModel
from server.catalogue.router import Alias
from server.chat.embeddings import EmbeddingRequest
from server.ledger.account import Account, account_of, shadow_account
from server.ledger.admission import Admission, Pass
from server.ledger.book import Book
from server.ledger.entry import Entry
from server.ledger.keys import Key
from server.providers import PROTOCOLS
from server.providers.egress import Egress
from server.providers.secrets import Keyring
from server.record import record
from server.routing.attempt import Patience
from server.routing.breaker import Breakers, Rule
from server.routing.candidate import Candidate
from server.routing.candidates import Candidates
from server.routing.decision import Decision
from server.routing.dispatch import Delivery, Dispatch
from server.routing.explain import Question, explanation, limited
from server.routing.leg import Job, RelayFor, Request
from server.routing.match import choice_of, draw_of, rank
from server.routing.means import Means
from server.routing.needs import Caller, Endpoint, Needs, embedding_needs, needs_of
from server.routing.observe import Expected
from server.routing.outbox import Outbox, Receiver
from server.routing.policy import decide
from server.routing.precounts import Precounts
from server.routing.request_log import RequestLogger
from server.routing.retry import RetryBudget
from server.routing.rivals import Rivals
from server.routing.targets import Target
from server.routing.trace import Trace
from server.routing.tracing import Tracer


class Asker(Protocol):
    """Whom a request is done for."""

    @property
    def id(self) -> str:
        """A key's id, or the address it came from where none is needed."""
        ...

    @property
    def key(self) -> Key | None: ...


@record()
class Course:
    """A request that was decided on."""

    needs: Needs
    decision: Decision
    account: Account


class Router:
    """`book`, `keyring` and `tell` outlive every configuration. Belongs to one event loop.

    `tell` hears of each entry that the ledger gets, `left` of each body that is sent to a provider:
    its id, and the bytes. `collector` gets traces; None: there are none. Raises ConfigError where
    there is one, and what makes them is not installed.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        book: Book,
        keyring: Keyring,
        tell: Callable[[Entry], None],
        left: Callable[[str, int], None],
        collector: Receiver | None = None,
    ) -> None:
        self.book = book
        self.admission = Admission()
        self.breakers = Breakers(Rule())
        self.candidates = Candidates(self.breakers)
        self.precounts = Precounts(
            self.candidates,
            lambda: self._catalogue.router,
            lambda needs, account: self.decide(needs, account, "").decision,
        )
        self._keyring = keyring
        self._tell = tell
        self._egress = Egress(keyring.key_of, on_sent=left)
        self._catalogue = catalogue
        self._targets: Sequence[Target] = ()
        self.keyless: Mapping[str, str] = {}
        """Providers that are not asked for want of a key, and why."""
        self._rivals = Rivals(catalogue)
        self._retries = RetryBudget(catalogue.router.retry_budget)
        self._dispatch = Dispatch(self._means())
        self._logger = RequestLogger(lambda: self._dispatch.means)
        self.tracer = None if collector is None else Tracer(lambda: self._dispatch.means, collector)
        """Who is told of each request that is over; None: nobody."""
        self.serve(())

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue

    def configure(self, catalogue: Catalogue) -> None:
        """Go by `catalogue` from now on."""
        self._catalogue = catalogue
        self._rivals = Rivals(catalogue)
        self._dispatch.means = self._means()
        self.serve(self._targets)

    def serve(self, targets: Sequence[Target]) -> None:
        """Choose among `targets` and the clouds from now on."""
        self._targets = targets
        self.keyless = self._keyring.keyless(self._catalogue.providers.values())
        self.candidates.serve(
            self._catalogue,
            targets,
            expected={one.build.name: _expected(one) for one in targets},
            keyless=self.keyless,
        )

    def clouds(self) -> list[CloudModel]:
        """Those that can be asked."""
        if not self._catalogue.router.cloud:
            return []
        found = (one.target for one in self.candidates.everything() if one.side == "cloud")
        return [model for model in found if isinstance(model, CloudModel)]

    def aliases(self) -> Iterator[tuple[Alias, list[Candidate]]]:
        """Those that stand for something that there is, and for what."""
        cloud = self._catalogue.router.cloud
        there = [c for c in self.candidates.everything() if cloud or c.side == "local"]
        for alias in self._catalogue.router.aliases.values():
            if meant := [c for c in there if rank(alias.candidates, c.name, c.side) >= 0]:
                yield alias, meant

    def account(self, asker: Asker) -> Account:
        return account_of(asker.id, asker.key, self._catalogue.router)

    def admit(self, account: Account, tokens: int) -> Pass:
        """The request's place among those of its key, its team and all. Raises RateLimited."""
        return self.admission.admit(account.parties, tokens)

    def needs(
        self,
        request: Request,
        endpoint: Endpoint,
        headers: Mapping[bytes, bytes],
        asker: Asker,
        trace: Trace | None = None,
    ) -> Needs:
        """Raises RequestError for a header that is malformed, and for an unknown task."""
        now = datetime.datetime.now()
        router = self._catalogue.router
        if isinstance(request, EmbeddingRequest):
            needs = embedding_needs(request, headers, _caller(asker), router, now)
        else:
            needs = needs_of(request, endpoint, headers, _caller(asker), router, now)
        if trace is not None:  # it may be refused before anything is decided
            trace.private = choice_of(needs, router).local_only
        return needs

    def decide(
        self, needs: Needs, account: Account, request_id: str, trace: Trace | None = None
    ) -> Course:
        """Raises what `policy.decide` does."""
        router = self._catalogue.router
        if trace is not None:
            trace.decide(needs, choice_of(needs, router).local_only)
        decision = decide(
            needs,
            self.candidates.of(needs),
            router,
            spare=self.book.left(account),
            draw=draw_of(needs.session or request_id) if router.routes else 0.0,
            absent=self.candidates.absent,
        )
        if trace is not None:
            trace.follow(decision)
        return Course(needs, decision, account)

    def explain(self, question: Question) -> dict[str, Any]:
        """Where a request would go, and why. Raises RequestError."""
        router = self._catalogue.router
        now = datetime.datetime.now()
        needs = question.needs(router, now)
        there = question.counted(self.candidates.of(needs), clouds=self.book.is_open)
        account = account_of(needs.key, question.terms, router)
        return explanation(
            needs,
            there,
            router,
            spare=self.book.left(account),
            absent=self.candidates.absent,
            limited=limited(needs, account, there, self.book, self.admission),
            untold=question.untold(there, PROTOCOLS, self._catalogue.providers),
        )

    def deliver(
        self,
        course: Course,
        request: Request,
        request_id: str,
        relay_for: RelayFor,
        trace: Trace | None = None,
    ) -> Delivery:
        """The answer: a context, see dispatch.py."""
        router, decision = self._catalogue.router, course.decision
        shadowed = None
        if decision.shadow is not None:
            shadowed = next((one for one in router.routes if one.id == decision.route), None)
        job = Job(
            request=request,
            needs=course.needs,
            decision=decision,
            account=course.account,
            request_id=request_id,
            relay_for=relay_for,
            capable=self._rivals.of(course.needs),
            shadow_account=None if shadowed is None else shadow_account(shadowed, router),
            trace=trace,
        )
        return self._dispatch.deliver(job)

    async def run(self) -> None:
        """Open the ledger, and deliver the request log and traces; until cancelled.

        Local requests need not wait for it; clouds are closed until then.
        """
        await self.book.start()
        await asyncio.gather(*(outbox.run() for outbox in self._outboxes()))

    async def close(self) -> None:
        """End what goes on without a client, and the connections to clouds."""
        await self._dispatch.close()
        await asyncio.gather(*(outbox.close() for outbox in self._outboxes()))
        await self._egress.close()

    def _outboxes(self) -> list[Outbox[Any]]:
        return [self._logger] if self.tracer is None else [self._logger, self.tracer.outbox]

    def _heard(self, entry: Entry) -> None:
        self._tell(entry)
        self._logger(entry)

    def _means(self) -> Means:
        serve, router = self._catalogue.serve, self._catalogue.router
        self._retries.go_by(router.retry_budget)
        self.breakers.rule = Rule(router.breaker_failures, router.breaker_pause)
        return Means(
            router=router,
            providers=self._catalogue.providers,
            protocols=PROTOCOLS,
            egress=self._egress,
            book=self.book,
            breakers=self.breakers,
            budget=self._retries,
            admission=self.admission,
            patience=Patience(
                serve.queue_timeout,
                serve.load_timeout,
                router.first_token_timeout,
                router.token_timeout,
            ),
            begin=self.candidates.begin,
            allow=self.candidates.allow,
            tell=self._heard,
        )


def _expected(target: Target) -> Expected:
    speed = target.member.berth.speed
    return Expected() if speed is None else Expected(speed.prefill, speed.decode, speed.decode_all)


def _caller(asker: Asker) -> Caller:
    key = asker.key
    if key is None:
        return Caller(asker.id)
    return Caller(asker.id, key.team, key.local_only, key.models)
