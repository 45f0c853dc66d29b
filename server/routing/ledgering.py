"""What a request did at its targets, as the ledger keeps it. Pure, but for `Held`, and for the log
where a provider tells what cannot be."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from server.catalogue.cloud import CloudModel, Effort, Provider
from server.chat.usage import Usage
from server.ledger import cost as costs
from server.ledger.book import Hold
from server.ledger.entry import NOTHING, Entry, Outcome, Reservation
from server.ledger.limits import Room
from server.providers.egress import host_of
from server.providers.provider import Call
from server.record import record
from server.routing.candidate import Candidate
from server.routing.cloud_attempt import Reached
from server.routing.decision import Decision
from server.routing.needs import Needs
from server.routing.tally import Tally, credible
from server.routing.tokens import ABOVE, PAGE

log = logging.getLogger("holdfast")

_AROUND_A_PROMPT = 2048
"""Tokens that a provider may add to a prompt: how roles are marked, and that there are tools."""

_A_LIMIT = 64
"""Bytes that a limit of its answer adds to a call, from above."""

_FASTEST = 400
"""Tokens a second that a model thinks, from above: in 2026 Artificial Analysis measured 320 to 390
for Google's Flash-Lite, the fastest of the large providers'. `CloudModel.speed` counts where it is
more."""

_SLACK = 4
"""How many times its context a model may be said to have read or written: a provider counts in its
own way, and the catalogue gives some models less context than they have."""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold, and what it was made for: what a permit asks about."""

    hold: Hold
    reservation: Reservation

    @property
    def open(self) -> bool:
        return self.hold.open and self.hold.durable

    @property
    def host(self) -> str:
        return self.reservation.host

    @property
    def body(self) -> bytes:
        return self.reservation.body


@record()
class Bill:
    """What an attempt is charged with."""

    usage: Usage
    cost: int
    """Nano-USD."""


FREE = Bill(NOTHING, 0)


def reservation(
    time: float, request_id: str, needs: Needs, model: CloudModel, provider: Provider, call: Call
) -> Reservation:
    """The most that `call` can cost. A byte is a token at the least, so the body's bytes bound the
    prompt's tokens, as the context does; a document's pages are pictures as well."""
    prompt = len(call.body) + _AROUND_A_PROMPT + int(needs.pages * PAGE * ABOVE)
    if needs.longest is None:  # several inputs may have more together
        prompt = min(model.context, prompt)
    return Reservation(
        time=time,
        request_id=request_id,
        key_id=needs.key,
        endpoint=needs.endpoint,
        asked=needs.asked,
        model=model.id,
        provider=provider.id,
        host=host_of(provider),
        body=call.body,
        cost=costs.worst(model, prompt, needs.max_tokens, needs.n),
        prompt_tokens=prompt,
        output_tokens=costs.output_bound(model, needs.max_tokens, needs.n),
    )


def bound(room: Room, wanted: Reservation, model: CloudModel, needs: Needs) -> int | None:
    """Tokens that each answer is to be bounded to, where `room` does not cover the longest that
    there can be; None: it does, or what it covers is no answer worth having.

    Half of what is left is used if that is enough, so that others may be asked beside it.
    """
    if room.covers(wanted.cost, wanted.tokens):
        return None
    prompt = wanted.prompt_tokens + _A_LIMIT

    def within(share: int) -> int:
        bounds = [model.max_output]
        if room.money is not None:
            bounds.append(costs.affordable(model, prompt, room.money // share, needs.n))
        if room.tokens is not None:
            bounds.append((room.tokens // share - prompt) // needs.n)
        return min(bounds)

    return _worth_having(within, model.max_output, needs)


def local_bound(room: Room, needs: Needs, candidate: Candidate) -> int | None:
    """The same for a local model, whose whole answer is more than `room` has tokens for."""
    tokens, longest = room.tokens, candidate.max_output
    if tokens is None or needs.max_tokens is not None:
        return None
    return _worth_having(
        lambda share: min(longest, (tokens // share - needs.prompt_tokens) // needs.n),
        longest,
        needs,
    )


def covered(room: Room, needs: Needs, candidate: Candidate) -> bool:
    """Whether `room` has tokens for an answer of `candidate`, bounded where it may be."""
    if room.tokens is None or local_tokens(needs, candidate) <= room.tokens:
        return True
    return local_bound(room, needs, candidate) is not None


def _worth_having(within: Callable[[int], int], longest: int, needs: Needs) -> int | None:
    """`within` says what a half, and what all of what is left allows."""
    least = costs.least_answer(longest, "thinking" in needs.features)
    return next((found for share in (2, 1) if (found := within(share)) >= least), None)


def bill(
    reached: Reached,
    told: Usage | None,
    ended: bool,
    counted: int,
    prompt_tokens: int,
    model: CloudModel,
    held: int,
    *,
    n: int = 1,
    thought: int = 0,
) -> Bill:
    """What an attempt at a cloud is charged with: what it told, else what is known, from above.

    `counted`: tokens that came; `prompt_tokens`: an estimate from above; `held`: nano-USD reserved,
    beyond which no estimate goes; `n`: answers asked for; `thought`: see there. An attempt that did
    not leave or was declined is free; one whose fate is not known has had its prompt read, and may
    have thought; one that broke off has what came to pay for as well.
    """
    if told is not None and not _can_be(told, prompt_tokens, model, n):
        log.warning("%s tells a usage that cannot be: %.200s", model.id, told)
        told = None
    match reached:
        case "nothing" | "refused":
            return FREE
        case "sent":
            usage = Usage(prompt_tokens, thought)
        case "accepted" if told is not None and ended:
            return Bill(told, costs.cost(model.price, told))
        case "accepted":
            known = told or Usage(prompt_tokens, 0)
            written = max(known.completion_tokens, counted + thought)
            usage = replace(known, completion_tokens=written)
    return Bill(usage, min(held, costs.cost(model.price, usage)))


def _can_be(told: Usage, prompt_tokens: int, model: CloudModel, n: int) -> bool:
    """Whether a provider can have meant it. One that cannot would, added up, be a refund, close
    every budget, or not fit into the book.

    Not measured by what was reserved, as what is dearer than that is to be charged: some read more
    into a prompt than we do, and think beyond the limit of an answer. But no answer is longer than
    the context.
    """
    read = max(model.context, prompt_tokens)  # of many inputs each may have the context
    return credible(told, _SLACK * read, _SLACK * n * model.context)


def thought(model: CloudModel, needs: Needs, effort: Effort | None, tally: Tally) -> int:
    """The most tokens that `model` can have thought without a word to us: providers bill them, and
    tell how many only at the end, which does not come where an answer is broken off.

    `effort`: as the client asked; without it some models think, too.
    """
    if "thinking" not in model.features or (effort == "none" and "none" in model.efforts):
        return 0
    longest = costs.output_bound(model, needs.max_tokens, needs.n) - tally.counted
    fast = max(_FASTEST, model.speed)
    return max(0, min(longest, int(needs.n * tally.silent * fast)))


@record(kw_only=True)
class Course:
    """How a request went at one target, for its entry."""

    time: float
    """When it came, seconds since 1970."""
    request_id: str
    reason: str
    attempts: int
    ttft: float | None
    seconds: float
    waited: float = 0.0
    outcome: Outcome
    final: bool
    private: bool
    """Whether what was decided keeps it on this machine."""
    shadow: str | None = None


def entry(
    needs: Needs,
    candidate: Candidate | None,
    bill: Bill,
    course: Course,
    capable: Sequence[CloudModel] = (),
) -> Entry:
    """`candidate` None: nothing answered. `capable`: the clouds that could have."""
    forecast = None if candidate is None else candidate.forecast.ttft
    if needs.endpoint == "embeddings":  # they have no first token
        forecast = None
    return Entry(
        time=course.time,
        request_id=course.request_id,
        key_id=needs.key,
        team=needs.team,
        endpoint=needs.endpoint,
        asked=needs.asked,
        model="" if candidate is None else candidate.name,
        route="local" if candidate is None else candidate.side,
        provider=None if candidate is None else candidate.provider,
        reason=course.reason,
        attempts=course.attempts,
        usage=bill.usage,
        cost=bill.cost,
        saved=costs.saved(bill.usage, bill.cost, capable) if course.outcome == "answered" else 0,
        predicted_ttft=forecast if forecast is not None and math.isfinite(forecast) else None,
        ttft=course.ttft,
        seconds=course.seconds,
        waited=course.waited,
        outcome=course.outcome,
        final=course.final,
        shadow=course.shadow,
        private=needs.local_only or course.private,
    )


def local_tokens(needs: Needs, candidate: Candidate) -> int:
    """The most tokens that a request can take of a local model."""
    output = candidate.max_output if needs.max_tokens is None else needs.max_tokens
    return needs.prompt_tokens + needs.n * output


def failed(needs: Needs, decision: Decision, course: Course) -> Entry:
    """Of a request that nothing answered; what attempts at clouds did cost has its own entries."""
    return entry(needs, None, FREE, replace(course, reason=decision.reason))
