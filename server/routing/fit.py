"""The hard constraints: whether a candidate may and can answer a request at all. Pure."""

from __future__ import annotations

from enum import IntEnum
from fnmatch import fnmatchcase
from functools import lru_cache

from server.catalogue.capability import reaches
from server.catalogue.cloud import CloudModel
from server.ledger.cost import LEAST_THOUGHT, least_answer, worst
from server.record import record
from server.routing.candidate import Candidate
from server.routing.match import Choice, is_name, rank
from server.routing.needs import Needs
from server.routing.tokens import ABOVE, LEAST_PAGE, PAGE, SLACK
from server.units import format_money

_PERHAPS = PAGE * ABOVE * SLACK - LEAST_PAGE
"""Tokens of a page that an estimate counts, and that a target may not."""


class Stage(IntEnum):
    """What a candidate failed for, in the order in which it is looked at: who got further failed
    for something that is closer to being mended."""

    ASKED = 0
    PRIVACY = 1
    KEY = 2
    KIND = 3
    IMAGE = 4
    DOCUMENT = 5
    FEATURES = 6
    CHOICES = 7
    CONTEXT = 8
    OUTPUT = 9
    FLOOR = 10
    BUDGET = 11
    DOWN = 12
    FULL = 13
    FIT = 14


@record()
class Case:
    """One request, with all that its candidates are held against."""

    needs: Needs
    choice: Choice
    spare: int | None
    """Nano-USD that may still be spent on it; None: there is no limit."""
    floor: float
    """Capability that is insisted on; below the choice's where that was given up."""


class Constraints:
    """The hard constraints of one case. Laid out for speed: `stage` sees every candidate of every
    request."""

    def __init__(self, case: Case) -> None:
        needs, choice = case.needs, case.choice
        self._case = case
        self._patterns = choice.patterns
        self._places = _places(choice.patterns)
        self._local_only = choice.local_only
        self._keyed = needs.models is not None
        self._embeddings = needs.endpoint == "embeddings"
        self._bare = needs.endpoint == "completions"
        self._images = needs.images
        self._pages = needs.pages
        self._features = needs.features
        self._n = needs.n
        self._tokens = needs.prompt_tokens
        self._longest = needs.longest
        self._max_tokens = needs.max_tokens
        self._task = needs.task
        self._floor = case.floor
        self._spare = case.spare

    def stage(self, c: Candidate, *, asked: bool = False) -> Stage:
        """How far `c` gets. `asked`: it was named on purpose (a canary, a fallback), so that it
        need be no part of the choice and no capability is asked of it."""
        place = 0
        if not asked:
            found = self._places.get(c.name)
            place = self._place(c) if found is None else found
        if place < 0:
            return Stage.ASKED
        cloud = c.side == "cloud"
        if cloud and self._local_only:
            return Stage.PRIVACY
        if self._keyed and not _allowed(self._case.needs, c):
            return Stage.KEY
        if self._embeddings:
            if not c.embeddings:
                return Stage.KIND
        elif cloud and (c.embeddings or self._bare):
            return Stage.KIND
        if self._images and not c.image:
            return Stage.IMAGE
        if self._pages and not c.documents:
            return Stage.DOCUMENT
        if not self._features <= c.features:
            return Stage.FEATURES
        if self._n > 1 and c.slots is not None and self._n > c.slots:
            return Stage.CHOICES
        # Only what surely does not fit is refused here: in between the target itself knows better.
        tokens = c.least_tokens or (c.prompt_tokens or self._tokens) * SLACK
        if self._longest is not None:
            tokens *= self._longest / self._tokens
        if self._pages:
            tokens = max(0, tokens - self._pages * _PERHAPS)
        if cloud and self._max_tokens is not None:
            if self._max_tokens > c.max_output:
                return Stage.OUTPUT
            tokens += self._max_tokens
        if tokens > c.context:
            return Stage.CONTEXT
        if self._floor and not asked and not self._reaches(c, place):
            return Stage.FLOOR
        if self._spare is not None and c.price is not None and self._spends_too_much(c):
            return Stage.BUDGET
        if c.down:
            return Stage.DOWN if c.retry_after is None else Stage.FULL
        return Stage.FIT

    def _spends_too_much(self, c: Candidate) -> bool:
        """Mostly plain from a look at the price: then its exact bound need not be worked out."""
        assert c.price is not None
        assert self._spare is not None
        rate = c.price.rate
        output = self._max_tokens
        if output is None:
            output = min(c.max_output, LEAST_THOUGHT)
        if not c.price.tiers and rate.cache_write is None and rate.output >= rate.input:
            bound = (self._tokens + self._case.needs.n * output) * rate.output
            if bound <= self._spare * 1_000_000:
                return False
        return most(self._case, c) > self._spare

    def _place(self, c: Candidate) -> int:
        place = rank(self._patterns, c.name, c.side)
        self._places[c.name] = place
        return place

    def _reaches(self, c: Candidate, place: int) -> bool:
        known = c.capability.get(self._task)
        if known is not None and known >= self._floor:
            return True
        return reaches(known, self._floor, named=is_name(self._patterns[place]))


@lru_cache(maxsize=1024)
def _places(patterns: tuple[str, ...]) -> dict[str, int]:
    """What `rank` found for each candidate, by its name."""
    return {}


def length(needs: Needs, c: Candidate) -> int:
    """Tokens of the prompt, as `c` counts them, that have to fit its context: of several inputs,
    those of the longest."""
    tokens = c.prompt_tokens or needs.prompt_tokens
    return tokens if needs.longest is None else tokens * needs.longest // needs.prompt_tokens


def most(case: Case, c: Candidate) -> int:
    """Nano-USD that must be left for it: what it can cost there, or, where the client set no limit,
    what a short answer can (ledgering.bound)."""
    needs = case.needs
    if not isinstance(c.target, CloudModel):
        return 0
    output = needs.max_tokens
    if output is None:
        output = least_answer(c.max_output, "thinking" in needs.features)
    return worst(c.target, needs.prompt_tokens, output, needs.n)


def why(case: Case, c: Candidate, failed: Stage) -> str:
    """What it failed for, in words and figures."""
    needs, choice = case.needs, case.choice
    tokens = length(needs, c)
    if failed is Stage.ASKED and choice.named:
        return "not what was asked for"
    if failed is Stage.ASKED:
        return f"not among what {needs.asked!r} stands for ({', '.join(choice.patterns)})"
    if failed is Stage.PRIVACY:
        return f"a cloud, and the request is local-only: {choice.because}"
    if failed is Stage.KEY:
        return f"the key {needs.key} may not use it"
    if failed is Stage.KIND:
        return _kind(needs, c)
    if failed is Stage.IMAGE:
        return f"it does not see images, and there {_count(needs.images, 'is', 'are')}"
    if failed is Stage.DOCUMENT:
        what = "engines read" if c.side == "local" else "it reads"
        return f"{what} no documents, and there {_count(needs.pages, 'is', 'are', ' page')}"
    if failed is Stage.FEATURES:
        return f"it cannot do {' and '.join(sorted(needs.features - c.features))}"
    if failed is Stage.CHOICES:
        return f"n is {needs.n}, and its engine gives at most {c.slots}, one in each slot"
    if failed is Stage.OUTPUT:
        return f"max_tokens is {needs.max_tokens}, and its answers have at most {c.max_output}"
    if failed is Stage.CONTEXT:
        answer = "" if not needs.max_tokens or c.side == "local" else (
            f" and {needs.max_tokens} of answer"
        )  # fmt: skip
        return f"about {tokens} tokens of prompt{answer} do not fit its context of {c.context}"
    if failed is Stage.FLOOR:
        known = c.capability.get(needs.task)
        has = "not known" if known is None else f"{known:.1f}"
        return f"its capability for {needs.task} is {has}, and {choice.floor:g} is asked for"
    if failed is Stage.BUDGET:
        left = format_money(case.spare or 0)
        return f"it may cost {format_money(most(case, c))}, and {left} may still be spent"
    return c.down


def _allowed(needs: Needs, c: Candidate) -> bool:
    """A key that may ask for an alias may use what that stands for."""
    return any(
        fnmatchcase(name, pattern)
        for pattern in needs.models or ()
        for name in (needs.asked, c.name, c.model)
    )


def _kind(needs: Needs, c: Candidate) -> str:
    if needs.endpoint == "embeddings":
        return "another build, whose vectors differ" if c.embeddings else "it makes no embeddings"
    if c.embeddings:
        return "it makes embeddings, and nothing else"
    return "clouds take conversations, not a bare prompt"


def _count(count: int, one: str, many: str, noun: str = "") -> str:
    """`"is 1 page"`, `"are 3"`."""
    return f"{one} {count}{noun}" if count == 1 else f"{many} {count}{noun and noun + 's'}"
