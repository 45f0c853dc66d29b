"""What must hold between the values of one table of the router or of a cloud's model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

from server.catalogue.cloud import Effort
from server.catalogue.rule import Implies, Rule, Values
from server.units import format_duration, format_money, format_price

_EFFORTS: tuple[str, ...] = get_args(Effort)


def _once(key: str) -> Rule:
    """A list that is written down holds something, and nothing twice."""
    return Rule(
        (key,),
        lambda v: 0 < len(v[key]) == len(set(v[key])),
        "must name at least one, and none twice",
    )


LIMITS: tuple[Rule | Implies, ...] = (
    Rule(
        ("day", "month"),
        lambda v: v["day"] <= v["month"],
        "is more than the month's",
        format_money,
    ),
    Rule(
        ("tokens_day", "tokens_month"),
        lambda v: v["tokens_day"] <= v["tokens_month"],
        "is more than the month's",
    ),
)
ROUTER: tuple[Rule | Implies, ...] = (
    Rule(
        ("hedge_after", "first_token_timeout"),
        lambda v: v["hedge_after"] is None or v["hedge_after"] < v["first_token_timeout"],
        "must be shorter than first_token_timeout, or nothing is ever hedged",
        format_duration,
    ),
)
ALIAS: tuple[Rule | Implies, ...] = (_once("candidates"),)
MATCH: tuple[Rule | Implies, ...] = (
    *(_once(key) for key in ("models", "tasks", "keys", "teams")),
    Rule(
        ("min_tokens", "max_tokens"),
        lambda v: v["min_tokens"] <= v["max_tokens"],
        "is more than max_tokens: no prompt is as long as that",
    ),
)
ROUTE: tuple[Rule | Implies, ...] = (
    _once("candidates"),
    _once("fallbacks"),
    Implies("policy", "weighted", demands=("candidates", "weights")),
)


def _in_every_tier(key: str) -> Rule:
    """Without it a tier would charge the whole of `input` for what the base price has reduced."""
    return Rule(
        ("tiers", key),
        lambda v: all(getattr(tier.rate, key) is not None for tier in v["tiers"]),
        f"has a tier without {key}, which the prices below it have",
        format_price,
    )


def _rising(values: Values, key: str) -> bool:
    amounts = [values[key], *(getattr(tier.rate, key) for tier in values["tiers"])]
    return all(low <= high for low, high in pairwise(amounts))


RATE: tuple[Rule | Implies, ...] = (
    Rule(
        ("cached_input", "input"),
        lambda v: v["cached_input"] <= v["input"],
        "is more than input: what is cached is never dearer",
        format_price,
    ),
)
PRICE: tuple[Rule | Implies, ...] = (
    *RATE,
    Rule(
        ("tiers",),
        lambda v: _ascending([tier.above for tier in v["tiers"]]),
        "must have tiers by above, smallest first",
    ),
    Rule(
        ("tiers",),
        lambda v: all((tier.rate.cached_input or 0) <= tier.rate.input for tier in v["tiers"]),
        "has a tier whose cached_input is more than its input",
    ),
    _in_every_tier("cached_input"),
    _in_every_tier("cache_write"),
    Rule(
        ("tiers", "input", "output"),
        lambda v: _rising(v, "input") and _rising(v, "output"),
        "has a tier that is cheaper than the prices below it; a later file's price keeps the "
        "earlier file's tiers: give tiers too, or tiers = []",
        format_price,
    ),
)
CLOUD: tuple[Rule | Implies, ...] = (
    Rule(
        ("max_output", "context"),
        lambda v: v["max_output"] <= v["context"],
        "must not exceed context",
    ),
    Rule(
        ("efforts",),
        lambda v: _ascending([_EFFORTS.index(effort) for effort in v["efforts"]]),
        f"must be in the order {', '.join(_EFFORTS)}, and none twice",
    ),
    Implies("embeddings", True, forbids=("features", "efforts", "thinking_budget")),
)


def _ascending(numbers: Sequence[Any]) -> bool:
    return all(low < high for low, high in pairwise(numbers))
