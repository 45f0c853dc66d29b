"""The hard constraints: whether a candidate may and can answer a request at all. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase

from server.catalogue.capability import reaches
from server.catalogue.cloud import CloudModel
from server.ledger.cost import worst
from server.routing.candidate import Candidate
from server.routing.match import Choice, is_name, rank
from server.routing.needs import Needs
from server.units import format_money

SLACK = 0.75
"""The part of the estimated tokens that a prompt surely has. Only what cannot fit is refused for
its length here; in between the target itself knows better."""


class Stage(IntEnum):
    """What a candidate failed for, in the order in which it is looked at: who got further failed
    for something that is closer to being mended."""

    ASKED = 0
    PRIVACY = 1
    KEY = 2
    KIND = 3
    IMAGE = 4
    FEATURES = 5
    CONTEXT = 6
    OUTPUT = 7
    FLOOR = 8
    BUDGET = 9
    DOWN = 10
    FULL = 11
    FIT = 12


@dataclass(frozen=True, slots=True)
class Case:
    """One request, with all that its candidates are held against."""

    needs: Needs
    choice: Choice
    spare: int | None
    """Nano-USD that may still be spent on it; None: there is no limit."""
    floor: float
    """Capability that is insisted on; below the choice's where that was given up."""


def stage(case: Case, c: Candidate, *, asked: bool = False) -> Stage:
    """How far `c` gets. `asked`: it was named on purpose (a canary, a fallback), so that it need be
    no part of the choice and no capability is asked of it."""
    needs, choice = case.needs, case.choice
    place = 0 if asked else rank(choice.patterns, c.name, c.model, c.side, c.provider)
    if place < 0:
        return Stage.ASKED
    cloud = c.side == "cloud"
    if cloud and choice.local_only:
        return Stage.PRIVACY
    if needs.models is not None and not _allowed(needs, c):
        return Stage.KEY
    if c.embeddings != (needs.endpoint == "embeddings") or (
        cloud and needs.endpoint == "completions"
    ):
        return Stage.KIND
    if needs.images and not c.image:
        return Stage.IMAGE
    if needs.features and not needs.features <= c.features:
        return Stage.FEATURES
    tokens = (c.prompt_tokens or needs.prompt_tokens) * SLACK
    if cloud and needs.max_tokens is not None:
        if needs.max_tokens > c.max_output:
            return Stage.OUTPUT
        tokens += needs.max_tokens
    if tokens > c.context:
        return Stage.CONTEXT
    if case.floor and not asked:
        named = is_name(choice.patterns[place])
        if not reaches(c.capability.get(needs.task), case.floor, named=named):
            return Stage.FLOOR
    if case.spare is not None and c.price is not None and most(case, c) > case.spare:
        return Stage.BUDGET
    if c.down:
        return Stage.DOWN if c.retry_after is None else Stage.FULL
    return Stage.FIT


def most(case: Case, c: Candidate) -> int:
    """Nano-USD that it can cost there."""
    needs = case.needs
    if not isinstance(c.target, CloudModel):
        return 0
    return worst(c.target, needs.prompt_tokens, needs.max_tokens, needs.n)


def why(case: Case, c: Candidate, failed: Stage) -> str:
    """What it failed for, in words and figures."""
    needs, choice = case.needs, case.choice
    tokens = c.prompt_tokens or needs.prompt_tokens
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
    if failed is Stage.FEATURES:
        return f"it cannot do {' and '.join(sorted(needs.features - c.features))}"
    if failed is Stage.OUTPUT:
        return f"max_tokens is {needs.max_tokens}, and its answers have at most {c.max_output}"
    if failed is Stage.CONTEXT:
        answer = "" if needs.max_tokens is None or c.side == "local" else (
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
    if c.embeddings:
        return "it makes embeddings, and nothing else"
    if needs.endpoint == "embeddings":
        return "it makes no embeddings"
    return "clouds take conversations, not a bare prompt"


def _count(count: int, one: str, many: str) -> str:
    return f"{one} {count}" if count == 1 else f"{many} {count}"
