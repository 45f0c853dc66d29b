"""What may stand in the tables of the router, of clouds and of their models.

Keys are named as the fields of `router` and `cloud` that they become. All of these tables are
merged key by key by later files: a route of the same id is changed, a new one comes after those
that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from server.catalogue import field
from server.catalogue import routing_field as own
from server.catalogue.cloud import Effort, Feature, Kind, Rate, Tier
from server.catalogue.model import BENCHMARKS
from server.catalogue.node import Dictionary, Entries, Node, Table, Whole
from server.catalogue.router import PolicyName

_POLICIES: tuple[str, ...] = get_args(PolicyName)
_UNWEIGHTED = tuple(policy for policy in _POLICIES if policy != "weighted")
"""Weights stand in a route, so that only a route can go by them."""

_ASKED = field.text(
    r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}", 'a name such as "auto" or "openai/gpt-5"'
)
_CANDIDATE = field.text(
    r"\*|[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}(/\*)?",
    'a model, build, alias, "PROVIDER/*", "local", "cloud" or "*"',
)
_PATTERN = field.text(
    r"[A-Za-z0-9*][A-Za-z0-9._:/@+ *-]{0,127}", 'a name, or a pattern such as "qwen3.5-*"'
)
_CANDIDATES = field.list_of(_CANDIDATE, "candidates")
_PATTERNS = field.list_of(_PATTERN, "names or patterns")
_PERCENT = field.number(0, 100)
_TOKENS = field.integer(0, 1_000_000_000)
_PER_MINUTE = field.integer(1, 1_000_000_000)
_TIMEOUT = field.duration(0.001, 86_400)
_SLO = field.duration(0.001, 86_400)

LIMITS = Table(
    {
        "day": own.money,
        "month": own.money,
        "tokens_day": field.integer(0, 10**15),
        "tokens_month": field.integer(0, 10**15),
        "rpm": _PER_MINUTE,
        "tpm": _PER_MINUTE,
        "concurrency": field.integer(1, 1_000_000),
    }
)
KEY = Table({"env": own.variable, "file": own.key_file, "credential": own.credential}, private=True)
REQUEST_LOG = Table({"url": own.cloud_url, "key": KEY}, ("url",), private=True)
ROUTER = Table(
    {
        "cloud": field.boolean,
        "policy": field.one_of(_UNWEIGHTED),
        "slo_ttft": _SLO,
        "bridge": field.boolean,
        "hedge_after": field.duration_or_never(0.001, 86_400),
        "retries": field.integer(0, 10),
        "retry_budget": field.number(0, 1),
        "breaker_failures": field.integer(1, 1000),
        "breaker_pause": field.duration(0.1, 86_400),
        "first_token_timeout": _TIMEOUT,
        "token_timeout": _TIMEOUT,
        "limits": LIMITS,
        "request_log": REQUEST_LOG,
    }
)
ALIAS = Table(
    {
        "name": _ASKED,
        "candidates": _CANDIDATES,
        "policy": field.one_of(_UNWEIGHTED),
        "floor": _PERCENT,
        "task": field.IDENTIFIER,
    },
    ("name", "candidates"),
)
TASK = Table(
    {
        "benchmarks": Dictionary(field.one_of(BENCHMARKS), field.number(0, 1_000_000)),
        "floor": _PERCENT,
    },
    ("benchmarks",),
)
MATCH = Table(
    {
        "models": _PATTERNS,
        "tasks": field.list_of(field.IDENTIFIER, "tasks"),
        "keys": _PATTERNS,
        "teams": field.list_of(field.IDENTIFIER, "teams"),
        "headers": Dictionary(own.header, own.HEADER_VALUE),
        "min_tokens": _TOKENS,
        "max_tokens": field.integer(1, 1_000_000_000),
        "images": field.boolean,
        "documents": field.boolean,
        "hours": own.hours,
    }
)
CANARY = Table({"model": _ASKED, "percent": _PERCENT}, ("model", "percent"))
SHADOW = Table({"model": _ASKED, "percent": _PERCENT, "day": own.money}, ("model", "percent"))
ROUTE = Table(
    {
        "id": field.IDENTIFIER,
        "when": MATCH,
        "policy": field.one_of(_POLICIES),
        "candidates": _CANDIDATES,
        "fallbacks": _CANDIDATES,
        "weights": Dictionary(_CANDIDATE, field.number(0, 1_000_000)),
        "canary": CANARY,
        "shadow": SHADOW,
        "local_only": field.boolean,
        "slo_ttft": _SLO,
    },
    ("id",),
)
TEAM = Table({"id": field.IDENTIFIER, "limits": LIMITS}, ("id",))

PROVIDER = Table(
    {
        "id": field.IDENTIFIER,
        "kind": field.one_of(get_args(Kind)),
        "url": own.cloud_url,
        "key": KEY,
        "zero_retention": field.boolean,
        "rpm": _PER_MINUTE,
        "tpm": _PER_MINUTE,
        "concurrency": field.integer(1, 1_000_000),
    },
    ("id", "kind", "url"),
    private=True,
)
_RATE: Mapping[str, Node] = {
    "input": own.price,
    "output": own.price,
    "cached_input": own.price,
    "cache_write": own.price,
}


def _tier(row: dict[str, object]) -> tuple[Tier]:
    above = row.pop("above")
    return (Tier(above, Rate(**row)),)  # type: ignore[arg-type]


PRICE = Table(
    {
        **_RATE,
        "tiers": Whole(
            Table({"above": field.integer(1, 100_000_000), **_RATE}, ("above", "input", "output")),
            _tier,
            many=True,
        ),
    },
    ("input", "output"),
)
CLOUD = Table(
    {
        "id": field.text(
            r"[a-z0-9][a-z0-9._-]{0,63}/[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}",
            'PROVIDER/NAME, such as "openai/gpt-5"',
        ),
        "name": field.LINE,
        "title": field.LINE,
        "context": field.integer(1, 100_000_000),
        "max_output": field.integer(1, 100_000_000),
        "price": PRICE,
        "image": field.boolean,
        "documents": field.boolean,
        "features": field.list_of(field.one_of(get_args(Feature)), "features"),
        "scores": Dictionary(field.one_of(BENCHMARKS), _PERCENT),
        "ttft": field.duration(0, 3600),
        "speed": field.number(0, 1_000_000, above=True),
        "efforts": field.list_of(field.one_of(get_args(Effort)), "efforts"),
        "thinking_budget": field.span(0, 100_000_000),
        "embeddings": field.boolean,
        "retires": field.date,
    },
    ("id", "context", "max_output", "price"),
)

TABLES: Mapping[str, Node] = {
    "router": ROUTER,
    "alias": Entries(ALIAS, key="name"),
    "task": Dictionary(field.IDENTIFIER, TASK, name="name"),
    "route": Entries(ROUTE),
    "team": Entries(TEAM),
    "provider": Entries(PROVIDER),
    "cloud": Entries(CLOUD),
}
"""The top-level tables, by name."""
