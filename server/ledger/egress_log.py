"""What left this machine: a chain of rows in which no change stays unseen.

A row is written in the transaction that reserves the money, before a byte leaves. Its `chain` is an
HMAC over the row, its number, and the chain of the row before it, so that a row that was changed,
removed, inserted or moved breaks the chain at its place; `head`, an HMAC over the last row's number
and chain, shows rows cut off at the end. All are made with the book's secret, which is in a file
of its own: who can only write to the database cannot mend the chain. Who has the secret too can:
a copy of the head, kept elsewhere, shows that as well.

Of a body only its length and its HMAC are kept: enough to prove what was sent to someone who has
it, and nothing to anybody else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

EGRESS_COLUMNS = (
    "seq", "time", "request_id", "key_id", "host", "model", "bytes", "body_hmac", "chain",
)  # fmt: skip
_TYPES = dict.fromkeys(EGRESS_COLUMNS, str) | {"seq": int, "time": float, "bytes": int}
BEGINNING = ""
"""The chain before the first row."""


@dataclass(frozen=True, slots=True)
class Departure:
    """One body that was about to leave."""

    seq: int
    """1 for the first."""
    time: float
    request_id: str
    key_id: str
    host: str
    model: str
    bytes: int
    body_hmac: str
    """Hexadecimal."""
    chain: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place at which the log is not as it was written."""

    seq: int
    what: str


class Chain:
    """The end of the log, to which rows are added."""

    def __init__(self, secret: bytes, seq: int = 0, chain: str = BEGINNING) -> None:
        self._secret = secret
        self.seq = seq
        self._chain = chain

    def add(
        self, time: float, request_id: str, key_id: str, host: str, model: str, body: bytes
    ) -> Departure:
        """The row for a body; the next one will follow it."""
        self.seq += 1
        said = (self.seq, float(time), request_id, key_id, host, model, len(body))
        digest = _mac(self._secret, b"body", body)
        self._chain = _link(self._secret, self._chain, (*said, digest))
        return Departure(*said, digest, self._chain)

    @property
    def head(self) -> str:
        """What proves that the log ends here."""
        return _mac(self._secret, b"head", orjson.dumps([self.seq, self._chain]))

    def proves(self, head: str) -> bool:
        """Whether `head` is that of a log that ends here."""
        return hmac.compare_digest(self.head.encode(), head.encode())

    def copy(self) -> Chain:
        return Chain(self._secret, self.seq, self._chain)


def verify(secret: bytes, rows: Iterable[Departure], head: str | None) -> Fault | None:
    """The first fault in a whole log, by `seq`; None: it is as it was written."""
    chain = BEGINNING
    seq = 0
    for row in rows:
        seq += 1
        if row.seq != seq:
            return Fault(seq, f"row {seq} is missing: {row.seq} follows {seq - 1}")
        said = (seq, row.time, row.request_id, row.key_id, row.host, row.model, row.bytes)
        if not is_sound(row) or not hmac.compare_digest(
            _link(secret, chain, (*said, row.body_hmac)).encode(), row.chain.encode()
        ):
            return Fault(seq, f"row {seq} is not the one that was written there")
        chain = row.chain
    if head is None or not Chain(secret, seq, chain).proves(head):
        return Fault(seq + 1, f"the log does not end with row {seq}: what followed is missing")
    return None


def is_sound(row: Departure) -> bool:
    """Whether each field is of its type, as in all that Holdfast writes: SQLite lets any stand in
    any column."""
    return all(type(getattr(row, name)) is kind for name, kind in _TYPES.items())


def stood_for(secret: bytes, rows: Sequence[Departure], head: str) -> bool:
    """Whether `head` was the head of this log after one of its rows, or of the empty log."""
    ends = [(0, BEGINNING), *((row.seq, row.chain) for row in rows)]
    return any(Chain(secret, seq, chain).proves(head) for seq, chain in reversed(ends))


def is_body(secret: bytes, row: Departure, body: bytes) -> bool:
    """Whether `body` is what the row stands for."""
    return is_sound(row) and hmac.compare_digest(
        _mac(secret, b"body", body).encode(), row.body_hmac.encode()
    )


def _link(secret: bytes, before: str, said: tuple[Any, ...]) -> str:
    return _mac(secret, b"row", orjson.dumps([before, *said]))


def _mac(secret: bytes, purpose: bytes, data: bytes) -> str:
    """HMAC-SHA256 of a label and the data, so that one kind can never stand for another."""
    mac = hmac.new(secret, purpose + b"\0", hashlib.sha256)
    mac.update(data)
    return mac.hexdigest()
