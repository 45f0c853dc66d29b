"""What a request needs, as far as it matters for where it may go. Pure.

Where several places say which task it is, the header counts before the body, the body before the
alias; where none does, it is guessed (task.py).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Literal

from server.catalogue.cloud import Feature
from server.catalogue.router import Router
from server.chat.embeddings import EmbeddingRequest
from server.chat.request import ChatRequest, CompletionRequest
from server.errors import RequestError
from server.record import record
from server.routing import headers as h
from server.routing import tokens
from server.routing.prefix import Prefix, measured
from server.routing.task import CHAT, infer

Endpoint = Literal["chat", "completions", "responses", "messages", "embeddings"]
TaskFrom = Literal["header", "body", "alias", "inferred"]

_SAMPLING: Mapping[str, Feature] = {
    "temperature": "temperature",
    "top_p": "temperature",
    "min_p": "temperature",
    "top_k": "top_k",
    "presence_penalty": "penalties",
    "frequency_penalty": "penalties",
    "repetition_penalty": "penalties",
}
"""What each field of `Generation.sampling` asks of a model."""


@record()
class Caller:
    """Whom a request is done for."""

    id: str
    """A key's id, or an address where no key is needed."""
    team: str | None = None
    local_only: bool = False
    """Whether nothing that is sent with this key may leave the machine."""
    models: tuple[str, ...] | None = None
    """What the key may use: names as clients write them, `PROVIDER/*`, `local`, `cloud`; None:
    everything."""


@record(kw_only=True)
class Needs:
    asked: str
    """The model or alias, as the client wrote it."""
    endpoint: Endpoint
    task: str
    task_from: TaskFrom
    prompt_tokens: int
    """An estimate, from above: most prompts have fewer (tokens.py)."""
    longest: int | None = None
    """Of several inputs, the tokens of the longest, which is what has to fit a context; None: there
    is one only."""
    max_tokens: int | None
    """Of the answer; None: the client set no limit."""
    images: int = 0
    pages: int = 0
    """Of documents, from above; 0: there are none."""
    features: frozenset[Feature] = frozenset()
    n: int = 1
    local_only: bool = False
    private_because: str = ""
    """What made it local-only, in words: a header, a key, `--no-cloud`."""
    slo_ttft: float | None = None
    """Seconds to the first token that the client wants; None: as configured."""
    session: str | None = None
    prefix: Prefix = ()
    """A hash of each beginning of the conversation, and the tokens up to there, the shortest
    first: what caches of earlier prompts can be looked up by."""
    key: str
    """Whom it is done for: a key's id, or an address where none is needed."""
    team: str | None = None
    models: tuple[str, ...] | None = None
    """What the key may use; None: everything. See Caller."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that some route looks at."""
    time: datetime.time
    """Local."""


def needs_of(
    request: ChatRequest | CompletionRequest,
    endpoint: Endpoint,
    headers: h.Headers,
    caller: Caller,
    router: Router,
    now: datetime.datetime,
) -> Needs:
    """Of a checked request. `now`: local. Raises RequestError for a header that is malformed, and
    for a task that does not exist, naming those that do."""
    said = _said(request.model, headers, request.task_type, router)
    task, task_from = said or (infer(request), "inferred")
    count, prefix = measured(request)
    return Needs(
        **_asked_by(request.model, headers, caller, router, now),
        endpoint=endpoint,
        task=task,
        task_from=task_from,
        prompt_tokens=tokens.raised(count),
        max_tokens=request.max_tokens,
        images=_images(request),
        pages=request.pages if isinstance(request, ChatRequest) else 0,
        features=frozenset(_features(request)),
        n=request.n,
        prefix=prefix,
    )


def embedding_needs(
    request: EmbeddingRequest,
    headers: h.Headers,
    caller: Caller,
    router: Router,
    now: datetime.datetime,
) -> Needs:
    """Of a checked request for embeddings, whose answer has no tokens. Raises RequestError as
    `needs_of` does."""
    counts = [tokens.text_tokens(x) if isinstance(x, str) else len(x) for x in request.inputs]
    task, task_from = _said(request.model, headers, None, router) or (CHAT, "inferred")
    return Needs(
        **_asked_by(request.model, headers, caller, router, now),
        endpoint="embeddings",
        task=task,
        task_from=task_from,
        prompt_tokens=tokens.raised(sum(counts)),
        longest=tokens.raised(max(counts)),
        max_tokens=0,
    )


def check_task(name: str, router: Router, param: str) -> str:
    """`name`, where there is such a task. Raises RequestError naming those that there are."""
    if name in router.tasks:
        return name
    choices = ", ".join(router.tasks) or "none is configured"
    raise RequestError(
        f"there is no task {name[:64]!r}", next_step=f"Tasks: {choices}", param=param
    )


def _asked_by(
    model: str, headers: h.Headers, caller: Caller, router: Router, now: datetime.datetime
) -> dict[str, Any]:
    """What does not depend on the kind of request."""
    private = ""
    if not router.cloud:
        private = "no cloud is to be used (--no-cloud, or [router] cloud = false)"
    elif caller.local_only:
        private = "the key is local-only"
    elif h.local_only(headers):
        private = f"the header {h.LOCAL_ONLY} says so"
    looked_at = {name for route in router.routes for name in route.when.headers}
    return {
        "asked": model,
        "local_only": bool(private),
        "private_because": private,
        "slo_ttft": h.slo(headers),
        "session": h.session(headers),
        "key": caller.id,
        "team": caller.team,
        "models": caller.models,
        "headers": h.picked(headers, looked_at) if looked_at else {},
        "time": now.time(),
    }


def _said(
    model: str, headers: h.Headers, body: str | None, router: Router
) -> tuple[str, TaskFrom] | None:
    """The task that the client names, or else its alias. `body`: as the body has it."""
    if (said := h.task(headers)) is not None:
        return check_task(said, router, h.TASK), "header"
    if body is not None:
        return check_task(body.lower(), router, "task_type"), "body"
    alias = router.aliases.get(model)
    if alias is not None and alias.task is not None:
        return alias.task, "alias"
    return None


def _images(request: ChatRequest | CompletionRequest) -> int:
    if not isinstance(request, ChatRequest) or not request.has_images:
        return 0
    return sum(
        part["type"] == "image_url"
        for message in request.messages
        if type(message.get("content")) is list
        for part in message["content"]
    )


def _features(request: ChatRequest | CompletionRequest) -> Iterator[Feature]:
    """What it asks for that not every model can do."""
    if request.n > 1:
        yield "n"
    if request.seed is not None:
        yield "seed"
    if request.stop:
        yield "stop"
    if request.logit_bias:
        yield "logit_bias"
    for name in request.sampling:
        yield _SAMPLING[name]
    if isinstance(request, ChatRequest):
        yield from _chat_features(request)
    elif request.logprobs is not None:
        yield "logprobs"


def _chat_features(request: ChatRequest) -> Iterator[Feature]:
    if request.tool_use.tools:
        yield "tools"
        if request.tool_use.choice != "auto":
            yield "tool_choice"
        # To allow several calls at once asks for nothing; to forbid it does.
        if request.parallel_tool_calls is False:
            yield "parallel_tools"
    if request.response_format is not None:
        form = request.response_format.get("type")
        if form == "json_schema":
            yield "schema"
        elif form == "json_object":
            yield "json"
    if request.thinking:
        yield "thinking"
    if request.top_logprobs is not None:
        yield "logprobs"
