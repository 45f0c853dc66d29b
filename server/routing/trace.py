"""What became of a request, as spans: itself, the decision, and each attempt. Pure but for `Trace`.

Attributes are those of OpenTelemetry's conventions for HTTP servers and generative AI (`gen_ai.*`,
status: Development), and ours (`holdfast.*`). Nothing of a prompt or an answer is among them, nor
the words of an error, in which a target may quote either.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from server.chat.usage import Usage
from server.errors import HoldfastError
from server.ledger.entry import Outcome
from server.routing.candidate import Candidate
from server.routing.decision import Decision
from server.routing.needs import Needs

Value = str | bool | int | float | Sequence[str]
Kind = Literal["server", "internal", "client"]

_OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}
_HERE = "holdfast"
"""The provider of what runs on this machine."""
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Span:
    """Times are nanoseconds since 1970."""

    name: str
    kind: Kind
    began: int
    ended: int
    attributes: Mapping[str, Value]
    failed: bool = False
    first_token: int | None = None
    """When it came; told as an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt. Times are monotonic seconds."""

    candidate: Candidate
    began: float
    first_at: float | None
    ended: float
    outcome: Outcome
    error: HoldfastError | None
    usage: Usage
    cost: int
    """Nano-USD."""


@dataclass(slots=True)
class Trace:
    """One request, while it goes on. `parent` is what the client's `traceparent` and `tracestate`
    say."""

    path: str
    """Of the endpoint."""
    request_id: str
    key: str
    parent: Mapping[str, str]
    private: bool
    """Whether it is to stay here: then not a word about it leaves this machine either."""
    wall: int = field(default_factory=time.time_ns)
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    needs: Needs | None = None
    """None: it was refused before they were known."""
    deciding: float = 0.0
    """When its candidates were looked at, and when it was decided: monotonic seconds."""
    decided: float = 0.0
    decision: Decision | None = None
    """None: nothing may or can answer."""
    tried: list[Tried] = field(default_factory=list)
    error: HoldfastError | None = None
    left: bool = False
    """Whether the client went away, or the server ended."""
    status: int | None = None
    """Of the answer; None: none was begun."""

    def decide(self, needs: Needs, private: bool) -> None:
        """It is being decided on. `private`: whether it is to stay here."""
        self.needs, self.deciding = needs, time.monotonic()
        self.private |= private

    def follow(self, decision: Decision) -> None:
        """It was decided on."""
        self.decision, self.decided = decision, time.monotonic()

    def end(self, error: HoldfastError | None, *, left: bool, started: bool) -> None:
        """It is over. `started`: whether the client was sent the head of an answer."""
        self.ended = time.monotonic()
        self.error, self.left = error, left
        if started:
            self.status = 200
        elif error is not None:
            self.status = error.status

    def at(self, moment: float) -> int:
        """Nanoseconds since 1970, of monotonic seconds."""
        return self.wall + round((moment - self.began) * 1e9)


def spans(trace: Trace) -> Iterator[Span]:
    """The request's first, then those below it."""
    yield Span(
        f"POST {trace.path}",
        "server",
        trace.wall,
        trace.at(trace.ended),
        dict(_of_request(trace)),
        failed=trace.error is not None and trace.error.status >= 500,
    )
    if (needs := trace.needs) is None:
        return
    yield Span(
        "decide",
        "internal",
        trace.at(trace.deciding),
        trace.at(trace.decided or trace.ended),
        dict(_of_decision(needs, trace.decision)),
        failed=trace.decision is None,
    )
    for tried in trace.tried:
        yield Span(
            f"{_operation(needs)} {tried.candidate.model}",
            "client",
            trace.at(tried.began),
            trace.at(tried.ended),
            dict(_of_attempt(tried, needs)),
            failed=tried.error is not None,
            first_token=None if tried.first_at is None else trace.at(tried.first_at),
        )


def _of_request(trace: Trace) -> Iterator[tuple[str, Value]]:
    yield "http.request.method", "POST"
    yield "http.route", trace.path
    yield "url.path", trace.path
    yield "holdfast.request_id", trace.request_id
    yield "holdfast.key", trace.key
    if trace.status is not None:
        yield "http.response.status_code", trace.status
    if trace.error is not None:
        yield "error.type", _kind(trace.error)
    elif trace.left:
        yield "holdfast.outcome", "left"
    if (needs := trace.needs) is None:
        return
    yield "gen_ai.operation.name", _operation(needs)
    yield "gen_ai.request.model", needs.asked[:_LONGEST]
    if needs.max_tokens is not None:
        yield "gen_ai.request.max_tokens", needs.max_tokens
    if needs.n > 1:
        yield "gen_ai.request.choice.count", needs.n
    if needs.team is not None:
        yield "holdfast.team", needs.team
    if trace.decision is not None:
        yield "holdfast.reason", trace.decision.reason
        yield "holdfast.attempts", len(trace.tried)
        yield "holdfast.cost_usd", sum(tried.cost for tried in trace.tried) / 1e9
    answered = next((one for one in reversed(trace.tried) if one.outcome == "answered"), None)
    if answered is not None:
        yield "gen_ai.provider.name", answered.candidate.provider or _HERE
        yield "gen_ai.response.model", answered.candidate.name
        yield from _usage(answered.usage)


def _of_decision(needs: Needs, decision: Decision | None) -> Iterator[tuple[str, Value]]:
    yield "holdfast.task", needs.task
    yield "holdfast.task.from", needs.task_from
    yield "holdfast.prompt_tokens", needs.prompt_tokens
    if decision is not None:
        yield "holdfast.policy", decision.policy
        yield "holdfast.slo_ttft", decision.slo_ttft
        yield "holdfast.reason", decision.reason
        yield "holdfast.candidates", len(decision.verdicts)
        yield "holdfast.order", [candidate.name for candidate in decision.attempts]
        if decision.route is not None:
            yield "holdfast.route_id", decision.route


def _of_attempt(tried: Tried, needs: Needs) -> Iterator[tuple[str, Value]]:
    candidate = tried.candidate
    yield "gen_ai.operation.name", _operation(needs)
    yield "gen_ai.provider.name", candidate.provider or _HERE
    yield "gen_ai.request.model", candidate.model
    yield "gen_ai.response.model", candidate.name
    yield from _usage(tried.usage)
    yield "holdfast.route", candidate.side
    yield "holdfast.outcome", tried.outcome
    yield "holdfast.cost_usd", tried.cost / 1e9
    if math.isfinite(candidate.forecast.ttft):
        yield "holdfast.predicted_ttft", candidate.forecast.ttft
    if tried.first_at is not None:
        yield "holdfast.ttft", tried.first_at - tried.began
    if tried.error is not None:
        yield "error.type", _kind(tried.error)


def _usage(usage: Usage) -> Iterator[tuple[str, Value]]:
    yield "gen_ai.usage.input_tokens", usage.prompt_tokens
    yield "gen_ai.usage.output_tokens", usage.completion_tokens
    if usage.cached_tokens:
        yield "gen_ai.usage.cache_read.input_tokens", usage.cached_tokens


def _operation(needs: Needs) -> str:
    return _OPERATIONS.get(needs.endpoint, "chat")


def _kind(error: HoldfastError) -> str:
    return error.code or error.type
