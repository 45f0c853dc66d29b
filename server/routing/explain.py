"""What would happen to a request, and why, as JSON: `POST /admin/route/explain`.

Asked is `{"request": a body of chat completions or embeddings, "headers": {...}, "prompt_tokens":
a number, "key": {"id", "team", "local_only", "models", "limits"}}`, of which only the request must
be there. Answered is what `explanation` gives.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from server.catalogue.cloud import CloudModel, Kind, Provider
from server.catalogue.router import Limits, Router
from server.chat.embeddings import EmbeddingRequest, parse_embedding
from server.chat.request import ChatRequest, parse_chat
from server.errors import BudgetExceeded, HoldfastError, RequestError
from server.ledger.account import Account
from server.ledger.admission import Admission
from server.ledger.book import Book
from server.ledger.keys import ORDINARY, Terms
from server.providers.provider import CloudProtocol
from server.routing import ledgering
from server.routing.candidate import Candidate
from server.routing.decision import Decision, Verdict
from server.routing.fit import Case
from server.routing.match import choice_of, draw_of
from server.routing.needs import Caller, Needs, embedding_needs, needs_of
from server.routing.order import Order
from server.routing.policy import decide, stages
from server.routing.verdicts import Verdicts

_KEYS = ("request", "headers", "prompt_tokens", "key")
_MOST_TOKENS = 100_000_000
_NOBODY = "explain"
_UNWRITTEN = "what it costs cannot be written down (`holdfast ps` says why)"


@dataclass(frozen=True, slots=True)
class Question:
    request: ChatRequest | EmbeddingRequest
    headers: Mapping[bytes, bytes]
    caller: Caller
    prompt_tokens: int | None
    """In the place of the estimate."""
    terms: Terms = ORDINARY
    """Of the key: its team and its limits."""

    def counted(
        self, candidates: Sequence[Candidate], *, clouds: bool = True
    ) -> Sequence[Candidate]:
        """The candidates as they are for it: with as many tokens of prompt as it says, where it
        says that. `clouds`: whether what they cost can be written down."""
        tokens = self.prompt_tokens
        if tokens is not None:
            candidates = [replace(c, prompt_tokens=tokens, least_tokens=0) for c in candidates]
        if clouds:
            return candidates
        return [replace(c, down=_UNWRITTEN) if c.side == "cloud" else c for c in candidates]

    def untold(
        self,
        candidates: Sequence[Candidate],
        protocols: Mapping[Kind, CloudProtocol],
        providers: Mapping[str, Provider],
    ) -> dict[str, RequestError]:
        """The clouds that it cannot be told to, such as one whose kind of schema its tools have
        not, by name, and why."""
        found = {}
        for c in candidates:
            if isinstance(c.target, CloudModel) and isinstance(self.request, ChatRequest):
                try:
                    protocols[providers[c.target.provider].kind].encode(self.request, c.target)
                except RequestError as error:
                    found[c.name] = error
        return found

    def needs(self, router: Router, now: datetime.datetime) -> Needs:
        """`now`: local. Raises as `needs_of` does."""
        request, headers, caller = self.request, self.headers, self.caller
        if isinstance(request, EmbeddingRequest):
            needs = embedding_needs(request, headers, caller, router, now)
        else:
            needs = needs_of(request, "chat", headers, caller, router, now)
        if self.prompt_tokens is None:
            return needs
        return replace(needs, prompt_tokens=self.prompt_tokens, longest=None)


def read_question(values: Mapping[str, Any]) -> Question:
    """Raises RequestError, naming the place."""
    if unknown := next((key for key in values if key not in _KEYS), None):
        raise RequestError(
            f"unknown key {unknown[:64]!r}", next_step=f"Keys: {', '.join(_KEYS)}", param=unknown
        )
    request = values.get("request")
    if not isinstance(request, dict):
        raise _wrong("request", "a body of /v1/chat/completions or /v1/embeddings")
    headers = values.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise _wrong("headers", "an object of strings")
    tokens = values.get("prompt_tokens")
    if tokens is not None and (type(tokens) is not int or not 0 < tokens <= _MOST_TOKENS):
        raise _wrong("prompt_tokens", f"a number from 1 to {_MOST_TOKENS}")
    raw = {name.lower().encode(): value.encode() for name, value in headers.items()}
    parse = parse_chat if "messages" in request or "input" not in request else parse_embedding
    key = values.get("key", {})
    caller = _caller(key)
    terms = Terms(team=caller.team, limits=_limits(key.get("limits", {})))
    return Question(parse(request), raw, caller, tokens, terms)


def explanation(
    needs: Needs,
    candidates: Sequence[Candidate],
    router: Router,
    *,
    spare: int | None = None,
    absent: Mapping[str, str] | None = None,
    planned: bool = False,
    limited: HoldfastError | None = None,
    untold: Mapping[str, RequestError] | None = None,
) -> dict[str, Any]:
    """Every candidate with its reason, those that are tried first in their order.

    `planned`: whether it is what a plan would give, and not what runs; `limited`: what the limits
    of its key, its team or all refuse it with, whoever could answer; `untold`: see Question; for
    the others see policy.decide.
    """
    untold = untold or {}
    said = {name: error.sentence.removesuffix(".") for name, error in untold.items()}
    candidates = [replace(c, down=said[c.name]) if c.name in said else c for c in candidates]
    draw = draw_of(needs.session or _NOBODY)
    decision: Decision | None = None
    error: HoldfastError | None = None
    try:
        if limited is not None:
            raise limited
        decision = decide(needs, candidates, router, spare=spare, draw=draw, absent=absent)
        verdicts: Sequence[Verdict] = decision.verdicts
    except HoldfastError as refused:
        verdicts = _refused(needs, candidates, router, spare, draw)
        error = next((untold[v.name] for v in verdicts if v.reason == said.get(v.name)), refused)
    by_name = {c.name: c for c in candidates}
    tried = [c.name for c in decision.attempts] if decision else []
    return {
        "planned": planned,
        "request": _asked(needs),
        "decision": None if decision is None else _decided(decision),
        "error": None if error is None else error.openai_body()["error"],
        "candidates": [
            _candidate(by_name[verdict.name], verdict, number if number <= len(tried) else None)
            for number, verdict in enumerate(verdicts, 1)
        ],
        "absent": dict(absent or {}),
    }


def limited(
    needs: Needs,
    account: Account,
    candidates: Sequence[Candidate],
    book: Book,
    admission: Admission,
) -> HoldfastError | None:
    """What a request would be refused with now, whoever could answer: it would not be let in, or
    nobody's answer is within its budgets of tokens. Changes nothing."""
    refusal = admission.refusal(account, needs.prompt_tokens + needs.n * (needs.max_tokens or 0))
    if refusal is not None or needs.endpoint == "embeddings":
        return refusal
    room = book.room(account)
    talking = [c for c in candidates if c.side == "local" or not c.embeddings]
    if talking and not any(ledgering.covered(room, needs, c) for c in talking):
        try:
            book.check(account, 0, min(ledgering.local_tokens(needs, c) for c in talking))
        except BudgetExceeded as error:
            return error
    return None


def _refused(
    needs: Needs, candidates: Sequence[Candidate], router: Router, spare: int | None, draw: float
) -> Verdicts:
    choice = choice_of(needs, router)
    case = Case(needs, choice, spare, choice.floor)
    return Verdicts(case, stages(case, candidates), (), Order(case, draw, bridge=router.bridge))


def _asked(needs: Needs) -> dict[str, Any]:
    return {
        "model": needs.asked,
        "endpoint": needs.endpoint,
        "task": needs.task,
        "task_from": needs.task_from,
        "prompt_tokens": needs.prompt_tokens,
        "max_tokens": needs.max_tokens,
        "images": needs.images,
        "pages": needs.pages,
        "features": sorted(needs.features),
        "session": needs.session,
    }


def _decided(decision: Decision) -> dict[str, Any]:
    return {
        "attempts": [c.name for c in decision.attempts],
        "reason": decision.reason,
        "policy": decision.policy,
        "route": decision.route,
        "local_only": decision.local_only,
        "private_because": decision.private_because or None,
        "slo_ttft": decision.slo_ttft,
        "load": None if decision.load is None else decision.load.name,
        "shadow": None if decision.shadow is None else decision.shadow.name,
        "hedge_after": decision.hedge_after,
    }


def _candidate(c: Candidate, verdict: Verdict, attempt: int | None) -> dict[str, Any]:
    forecast = c.forecast
    return {
        "name": c.name,
        "side": c.side,
        "attempt": attempt,
        "fit": verdict.fit,
        "reason": verdict.reason,
        "ttft": forecast.ttft,
        "load": forecast.load,
        "queue": forecast.queue,
        "prefill": forecast.prefill,
        "speed": forecast.speed,
        "measured": forecast.measured,
        "cached_tokens": c.cached_tokens,
        "context": c.context,
        "capability": dict(c.capability),
    }


def _caller(value: Any) -> Caller:
    if not isinstance(value, dict):
        raise _wrong("key", "an object")
    models = value.get("models")
    if models is not None and not (
        isinstance(models, list) and all(isinstance(one, str) for one in models)
    ):
        raise _wrong("key.models", "an array of names")
    for name in ("id", "team"):
        if not isinstance(value.get(name, ""), str | None):
            raise _wrong(f"key.{name}", "a string")
    return Caller(
        id=value.get("id") or _NOBODY,
        team=value.get("team"),
        local_only=value.get("local_only") is True,
        models=None if models is None else tuple(models),
    )


def _limits(value: Any) -> Limits:
    names = [field.name for field in fields(Limits)]
    if not isinstance(value, dict) or not all(
        name in names and (limit is None or type(limit) is int) for name, limit in value.items()
    ):
        raise _wrong("key.limits", f"an object of whole numbers: {', '.join(names)}")
    return Limits(**value)


def _wrong(name: str, expected: str) -> RequestError:
    return RequestError(f"Invalid value for '{name}'", why=f"it must be {expected}", param=name)
