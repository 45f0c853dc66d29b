"""What dispatch works with. Replaced whole when the configuration is read anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from server.catalogue.cloud import Kind, Provider
from server.catalogue.router import Router
from server.chat.usage import Usage
from server.ledger.admission import Admission
from server.ledger.book import Book
from server.ledger.entry import Entry
from server.providers.egress import Egress
from server.providers.provider import CloudProtocol
from server.providers.quota import Quota
from server.routing.attempt import Patience
from server.routing.breaker import Breakers
from server.routing.candidate import Candidate
from server.routing.needs import Needs
from server.routing.retry import RetryBudget


class Flight(Protocol):
    """Hears how a request fares at a target; see observe.py. Times are monotonic seconds."""

    def reading(self) -> float:
        """Seconds that all prompts which the target has in hand should take it."""
        ...

    async def turn(self) -> None:
        """It has got its slots: return when the target should get its prompt."""
        ...

    def started(self, now: float, /) -> None:
        """The target has got its prompt."""
        ...

    def first(self, now: float, /) -> None:
        """Its first token has come."""
        ...

    def end(self, now: float, usage: Usage | None = None, /) -> None:
        """It is over; `usage` where it was answered to its end."""
        ...


def _nobody(candidate: Candidate, needs: Needs) -> None:
    return None


def _nothing(name: str, quota: Quota) -> None:
    return None


def _no_one(_: Entry) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    router: Router
    providers: Mapping[str, Provider]
    protocols: Mapping[Kind, CloudProtocol]
    egress: Egress
    book: Book
    breakers: Breakers
    budget: RetryBudget
    admission: Admission
    """For what providers allow us in a minute."""
    patience: Patience
    begin: Callable[[Candidate, Needs], Flight | None] = _nobody
    """Who learns from what becomes of a request that is about to be sent to a target."""
    allow: Callable[[str, Quota], None] = _nothing
    """Who hears what a provider says is left of our share of a model, by the model's id."""
    tell: Callable[[Entry], None] = _no_one
    """Told of each entry that the ledger gets, for metrics."""
