"""Entries, reservations and kept texts as rows of the book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.chat.usage import Usage
from server.ledger.account import Account
from server.ledger.entry import Entry, Reservation

ENTRY_COLUMNS = (
    "day", "time", "request_id", "key_id", "team", "shadow", "endpoint", "asked", "model", "route",
    "provider", "reason", "attempts", "prompt_tokens", "completion_tokens", "cached_tokens",
    "cache_write_tokens", "reasoning_tokens", "cost", "saved", "predicted_ttft", "ttft", "seconds",
    "outcome", "final",
)  # fmt: skip
HOLD_COLUMNS = (
    "id", "day", "time", "request_id", "key_id", "team", "shadow", "endpoint", "asked", "model",
    "provider", "cost", "prompt_tokens", "output_tokens",
)  # fmt: skip

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Text:
    """What a key with `keep_text` said and was told."""

    time: float
    request_id: str
    key_id: str
    request: bytes
    """The body as it came."""
    answer: str

    @property
    def size(self) -> int:
        """Bytes that it takes at most: a character has up to four."""
        return len(self.request) + 4 * len(self.answer)


def insert(table: str, columns: Sequence[str]) -> str:
    """The statement that inserts a row. Table and columns are constants of the code."""
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608


INSERT_ENTRY = insert("entry", ENTRY_COLUMNS)


def entry_row(day: int, entry: Entry) -> Row:
    usage = entry.usage
    return (
        day, entry.time, entry.request_id, entry.key_id, entry.team, entry.shadow, entry.endpoint,
        entry.asked, entry.model, entry.route, entry.provider, entry.reason, entry.attempts,
        usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens,
        usage.cache_write_tokens, usage.reasoning_tokens, entry.cost, entry.saved,
        entry.predicted_ttft, entry.ttft, entry.seconds, entry.outcome, entry.final,
    )  # fmt: skip


def hold_row(hold: int, day: int, account: Account, reservation: Reservation) -> Row:
    return (
        hold, day, reservation.time, reservation.request_id, reservation.key_id,
        account.team, account.shadow, reservation.endpoint, reservation.asked, reservation.model,
        reservation.provider, reservation.cost, reservation.prompt_tokens,
        reservation.output_tokens,
    )  # fmt: skip


def interrupted(row: Row) -> Entry:
    """The entry that a hold's row becomes whose process died: all of it is taken as spent."""
    held = dict(zip(HOLD_COLUMNS, row, strict=True))
    return Entry(
        time=held["time"],
        request_id=held["request_id"],
        key_id=held["key_id"],
        team=held["team"],
        shadow=held["shadow"],
        endpoint=held["endpoint"],
        asked=held["asked"],
        model=held["model"],
        route="cloud",
        provider=held["provider"],
        reason="Holdfast ended before the answer did: charged at its maximum",
        usage=Usage(held["prompt_tokens"], held["output_tokens"]),
        cost=held["cost"],
        outcome="interrupted",
        final=held["shadow"] is None,
    )
