"""Prompts that are counted before they are decided on, and by whose tokenizer.

A count takes time that a request waits. So it is asked for only where what it comes to, within the
bounds of the estimate, would change who is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace

from server.catalogue.router import Router
from server.chat import ChatRequest
from server.chat.embeddings import EmbeddingRequest
from server.errors import (
    BudgetExceeded,
    ContextExceeded,
    HoldfastError,
    Overloaded,
    ProviderBusy,
)
from server.ledger.account import Account
from server.routing.candidate import Candidate
from server.routing.candidates import Candidates
from server.routing.counting import UNSURE, Counter
from server.routing.decision import Decision
from server.routing.leg import Request
from server.routing.match import choice_of, rank
from server.routing.needs import Needs
from server.routing.targets import Target


class Precounts:
    """`router`: as it is configured now; `decide`: what would become of a request, which raises
    what `policy.decide` does."""

    def __init__(
        self,
        candidates: Candidates,
        router: Callable[[], Router],
        decide: Callable[[Needs, Account], Decision],
    ) -> None:
        self._candidates = candidates
        self._counter = Counter(candidates)
        self._router = router
        self._decide = decide

    def due(
        self, request: Request, needs: Needs, account: Account
    ) -> Coroutine[None, None, None] | None:
        """What is to be awaited before `decide`, for it to go by a count in place of an estimate;
        it does not fail. None, as for most requests: nothing, since a count could change nothing,
        or there is nobody who counts."""
        if isinstance(request, EmbeddingRequest) or not self._counter.may_matter(needs):
            return None
        patterns = choice_of(needs, self._router()).patterns
        asked = self._counter.due(request, needs, patterns)
        if not asked:
            return None
        off = int(UNSURE * max(counts.unknown(needs) for counts in asked))
        fewer, more = (
            replace(needs, prompt_tokens=max(1, needs.prompt_tokens + by)) for by in (-off, off)
        )
        if all(counts.any for counts in asked) and (
            self._first(fewer, account) == self._first(more, account)
        ):
            return None
        return self._counter.count(request, needs, asked)

    def _first(self, needs: Needs, account: Account) -> str | type[HoldfastError]:
        """Who would be asked first, or why nobody is."""
        try:
            return self._decide(needs, account).attempts[0].name
        except HoldfastError as error:
            return type(error)

    def whose(self, needs: Needs, account: Account) -> Candidate:
        """By whose tokenizer a prompt is to be counted: of who would answer it, else, where only
        its length or the moment forbids that, of the first who was asked for. Raises what
        `policy.decide` does."""
        try:
            return self._decide(needs, account).attempts[0]
        except (BudgetExceeded, ContextExceeded, Overloaded, ProviderBusy):
            patterns = choice_of(needs, self._router()).patterns
            places = ((rank(patterns, c.name, c.side), c) for c in self._candidates.of(needs))
            return min((one for one in places if one[0] >= 0), key=lambda one: one[0])[1]

    async def counted(
        self, request: ChatRequest, needs: Needs, candidate: Candidate
    ) -> tuple[int, str]:
        """The tokens of a prompt as `candidate` would count it, and what says so: its own `engine`,
        its `tokenizer` in another engine, or an `estimate`."""
        target = candidate.target
        if isinstance(target, Target):
            told = await self._counter.exactly(request, needs, target)
            if told is not None:
                return told[0], "engine" if told[1] is target else "tokenizer"
        return candidate.prompt_tokens or needs.prompt_tokens, "estimate"
