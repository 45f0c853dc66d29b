"""A key and what it may do, in words and as JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from server.catalogue.router import Limits
from server.ledger.keys import Key
from server.units import exact_money, format_money


def rules(key: Key) -> str:
    """What it may do, in a few words; empty: everything."""
    limits = key.limits
    money = ((limits.day, "a day"), (limits.month, "a month"))
    counts = (
        (limits.tokens_day, "tokens a day"), (limits.tokens_month, "tokens a month"),
        (limits.rpm, "requests a minute"), (limits.tpm, "tokens a minute"),
        (limits.concurrency, "at a time"),
    )  # fmt: skip
    words = [f"{format_money(amount)} {per}" for amount, per in money if amount is not None]
    words += [f"{amount:,} {per}" for amount, per in counts if amount is not None]
    if key.models is not None:
        words.append(f"only {' '.join(key.models)}")
    words += ["local only"] * key.local_only + ["keeps text"] * key.keep_text
    return ", ".join(words)


def as_json(key: Key) -> dict[str, Any]:
    """All but the hash; money as text with its unit."""
    return {
        "id": key.id, "name": key.name, "created": key.created, "revoked": key.revoked,
        "role": key.role, "team": key.team, "models": key.models, "local_only": key.local_only,
        "keep_text": key.keep_text, "limits": _limits_as_json(key.limits),
    }  # fmt: skip


def _limits_as_json(limits: Limits) -> dict[str, Any]:
    money = {
        name: None if value is None else exact_money(value)
        for name, value in (("day", limits.day), ("month", limits.month))
    }
    return asdict(limits) | money
