"""The error where nothing may or can answer a request. Pure.

It tells of those candidates that got furthest: a request that only its length keeps from the local
models is told of its length, and that clouds are closed to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from server.catalogue.cloud import Feature
from server.catalogue.naming import fits
from server.errors import (
    BudgetExceeded,
    ContextExceeded,
    HoldfastError,
    ModelNotFound,
    NoRoute,
    Overloaded,
    ProviderBusy,
)
from server.routing.candidate import Candidate
from server.routing.fit import Case, Stage, length, why
from server.routing.needs import Needs

_NAMED = 3
_FIELDS: Mapping[Feature, str] = {
    "tools": "tools",
    "parallel_tools": "parallel_tool_calls",
    "tool_choice": "tool_choice",
    "schema": "response_format",
    "json": "response_format",
    "thinking": "reasoning_effort",
    "logprobs": "logprobs",
    "n": "n",
    "seed": "seed",
    "stop": "stop",
    "top_k": "top_k",
    "logit_bias": "logit_bias",
}
"""What a request asks for it with, as far as that is one field."""


def unknown(name: str, known: Iterable[str], absent: Mapping[str, str]) -> HoldfastError:
    """Of a name that stands for nothing. `absent`: why a name that is known is not there."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name[:128].lower(), names, n=3, cutoff=0.5)
    if near:
        next_step = "Did you mean " + " or ".join(near) + "?"
    else:
        next_step = "Served: " + (", ".join(names) or "nothing yet")
    return ModelNotFound(
        f"the model {name[:128]!r} is not served here",
        why=told(absent.get(name, "")),
        next_step=next_step,
        param="model",
    )


def told(why: str) -> str:
    """Without the particulars, which name variables and files of this machine: `holdfast route
    explain` and `holdfast doctor` have them, for its operator."""
    return why.partition(": ")[0]


def empty(case: Case, absent: Mapping[str, str]) -> HoldfastError:
    """Of an alias or a route none of whose candidates is there."""
    patterns = case.choice.patterns
    wanted = ", ".join(patterns)
    meant = (
        told(why) for name, why in absent.items() if any(_means(one, name) for one in patterns)
    )
    reasons = list(dict.fromkeys(meant))[:_NAMED]
    return NoRoute(
        f"nothing of what {case.needs.asked!r} stands for ({wanted}) is there",
        why="; ".join(reasons),
        next_step="`holdfast route explain` shows what is",
        param="model",
    )


def _means(pattern: str, name: str) -> bool:
    """Whether a name that is not there is among what `pattern` stands for."""
    if pattern in ("local", "cloud"):
        return ("/" in name) == (pattern == "cloud")
    return fits(pattern, name)


def refusal(case: Case, stages: Sequence[tuple[Candidate, Stage]], pause: float) -> HoldfastError:
    """`stages`: how far each candidate got; at least one was asked for. `pause`: seconds after
    which a cloud that is left alone is tried again."""
    furthest = max(stage for _, stage in stages)
    last = [c for c, stage in stages if stage is furthest]
    closed = any(stage is Stage.PRIVACY for _, stage in stages) and furthest > Stage.PRIVACY
    aside = f"; clouds are closed to it: {case.choice.because}" if closed else ""
    told = "; ".join(f"{c.name}: {why(case, c, furthest)}" for c in last[:_NAMED])
    if len(last) > _NAMED:
        told += f"; and {len(last) - _NAMED} more"
    told += aside
    if furthest is Stage.FULL:
        return Overloaded(
            "every model that may answer this is busy",
            why=told,
            next_step="Retry later",
            retry_after=min(c.retry_after or 1 for c in last),
        )
    if furthest is Stage.DOWN:
        return ProviderBusy(
            "nothing that may answer this can be asked now",
            why=told,
            next_step="Retry later",
            retry_after=max(1, round(pause)),
        )
    if furthest is Stage.BUDGET:
        return BudgetExceeded(
            "the budget does not allow this request",
            why=told,
            next_step="Lower max_tokens, or raise the limit of the key, its team or [router]",
        )
    return _cannot(case, furthest, last, told)


def _lacking(needs: Needs, last: Sequence[Candidate]) -> str | None:
    """The field that none of `last` can honour, where it is one, and known which."""
    lacking = frozenset.intersection(*(needs.features - c.features for c in last))
    return _FIELDS.get(next(iter(lacking))) if len(lacking) == 1 else None


def _cannot(case: Case, furthest: Stage, last: Sequence[Candidate], told: str) -> HoldfastError:
    needs = case.needs
    if furthest is Stage.CONTEXT:
        tokens = min(length(needs, c) for c in last)
        return ContextExceeded(
            # In the words that OpenAI's clients look for.
            f"This model's maximum context length is {max(c.context for c in last)} tokens",
            why=f"the prompt has about {tokens}; {told}",
            next_step="Send less, or let it go to a model with a larger context",
            param="input" if needs.endpoint == "embeddings" else "messages",
        )
    if furthest is Stage.OUTPUT:
        most = max(c.max_output for c in last)
        return ContextExceeded(
            f"max_tokens is {needs.max_tokens}, and {most} is the most that may be used",
            why=told,
            next_step=f"Ask for at most {most}",
            param="max_tokens",
        )
    if furthest is Stage.CHOICES:
        most = max(c.slots or 1 for c in last)
        return NoRoute(
            f"n is {needs.n}, and {most} is the most that may be used",
            why=told,
            next_step=f"Ask for at most {most}",
            param="n",
        )
    if furthest is Stage.KEY:
        return ModelNotFound(
            f"the key {needs.key} may not use {needs.asked[:128]!r}",
            next_step=f"It may use {', '.join(needs.models or ()) or 'nothing'}",
            param="model",
        )
    if furthest is Stage.PRIVACY:
        return NoRoute(
            f"{needs.asked[:128]!r} is answered by clouds only, and this request is local-only",
            why=case.choice.because,
            next_step="Ask for a local model",
            param="model",
        )
    what, param = {
        Stage.IMAGE: ("no model that may answer this sees images", "messages"),
        Stage.DOCUMENT: ("no model that may answer this reads documents", "messages"),
        Stage.FEATURES: (
            "no model that may answer this can do all that it asks for",
            _lacking(needs, last),
        ),
        Stage.FLOOR: (f"no model that may answer this is good enough for {needs.task}", "model"),
        Stage.KIND: (f"{needs.asked[:128]!r} cannot answer at this endpoint", "model"),
    }[furthest]
    return NoRoute(
        what,
        why=told,
        next_step="`holdfast route explain` shows what each model can do",
        param=param,
    )
