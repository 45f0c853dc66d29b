"""What would happen to a request, and why, as JSON: `POST /admin/route/explain`.

Asked is `{"request": a body of chat completions or embeddings, "headers": {...}, "prompt_tokens":
a number, "session": ..., "key": {"id", "team", "local_only", "models"}}`, of which only the request
must be there. Answered is what `explanation` gives.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.catalogue.router import Router
from server.chat.embeddings import EmbeddingRequest, parse_embedding
from server.chat.request import ChatRequest, parse_chat
from server.errors import HoldfastError, RequestError
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


@dataclass(frozen=True, slots=True)
class Question:
    request: ChatRequest | EmbeddingRequest
    headers: Mapping[bytes, bytes]
    caller: Caller
    prompt_tokens: int | None
    """In the place of the estimate."""

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
    return Question(parse(request), raw, _caller(values.get("key", {})), tokens)


def explanation(
    needs: Needs,
    candidates: Sequence[Candidate],
    router: Router,
    *,
    spare: int | None = None,
    absent: Mapping[str, str] | None = None,
    planned: bool = False,
) -> dict[str, Any]:
    """Every candidate with its reason, those that are tried first in their order.

    `planned`: whether it is what a plan would give, and not what runs; for the others see
    policy.decide.
    """
    draw = draw_of(needs.session or _NOBODY)
    decision: Decision | None = None
    error: HoldfastError | None = None
    try:
        decision = decide(needs, candidates, router, spare=spare, draw=draw, absent=absent)
        verdicts: Sequence[Verdict] = decision.verdicts
    except HoldfastError as refused:
        error = refused
        verdicts = _refused(needs, candidates, router, spare, draw)
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


def _wrong(name: str, expected: str) -> RequestError:
    return RequestError(f"Invalid value for '{name}'", why=f"it must be {expected}", param=name)
