"""Conversations of the Responses API, kept in memory for `previous_response_id`.

Pure: the time is an argument. What is beyond the bounds is forgotten, oldest first, and nothing
outlives the program; a client that finds its response gone sends the conversation itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from server.chat.responses.items import Item
from server.units import MIB

KEPT = 3600.0
"""Seconds from when a response was kept."""
MAX_KEPT = 10_000
"""Responses."""
MAX_BYTES = 256 * MIB
"""Of all together."""


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    body: bytes
    """The items as JSON: the smallest form, and one that nobody can change."""
    until: float


class Kept:
    """Times are seconds of a clock that does not go back. Owners see only what is theirs."""

    def __init__(
        self, *, seconds: float = KEPT, most: int = MAX_KEPT, most_bytes: int = MAX_BYTES
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_bytes = most_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        """By age, oldest first."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, identifier: str, owner: str, items: Sequence[Item], now: float) -> bool:
        """Keeps the conversation up to and with the response; False where it alone is too much."""
        body = orjson.dumps(list(items))
        if len(body) > self._most_bytes:
            return False
        self._forget(identifier)
        self._entries[identifier] = _Entry(owner, body, now + self._seconds)
        self._bytes += len(body)
        self._bound(now)
        return True

    def recall(self, identifier: str, owner: str, now: float) -> list[Item] | None:
        """The items; None where they are not kept, or are another owner's."""
        entry = self._entries.get(identifier)
        if entry is None or entry.owner != owner or entry.until <= now:
            return None
        items: list[Item] = orjson.loads(entry.body)
        return items

    def _bound(self, now: float) -> None:
        while self._entries:
            identifier, oldest = next(iter(self._entries.items()))
            full = len(self._entries) > self._most or self._bytes > self._most_bytes
            if oldest.until > now and not full:
                return
            self._forget(identifier)

    def _forget(self, identifier: str) -> None:
        entry = self._entries.pop(identifier, None)
        if entry is not None:
            self._bytes -= len(entry.body)
