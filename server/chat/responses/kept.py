"""Responses that are kept in memory, for `previous_response_id` and to be asked for again.

Pure: the time is an argument. What is beyond the bounds is forgotten, oldest first, and nothing
outlives the program; a client that finds its response gone sends the conversation itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.chat.json_body import MAX_CONTAINERS, MAX_MEMBERS
from server.chat.responses.items import Item
from server.units import MIB

KEPT = 3600.0
"""Seconds from when a response was kept."""
MAX_KEPT = 10_000
"""Responses."""
MAX_BYTES = 256 * MIB
"""Of all together."""
MAX_EACH = 32 * MIB
"""Of one, as of a body unless it is configured otherwise: a conversation grows by a body with each
turn, and is read, held and written down again as a whole."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """As JSON: the smallest form, and one that nobody can change."""

    owner: str
    before: bytes
    response: bytes
    until: float
    private: bool

    @property
    def size(self) -> int:
        return len(self.before) + len(self.response)

    @property
    def branched(self) -> bool:
        """Whether it is beyond what `parse_json` would read of it in a body."""
        opened = self._count(b"{") + self._count(b"[")
        return opened > MAX_CONTAINERS or self._count(b",") > MAX_MEMBERS

    def _count(self, mark: bytes) -> int:
        return self.before.count(mark) + self.response.count(mark)


class Kept:
    """Times are seconds of a clock that does not go back. Owners see only what is theirs."""

    def __init__(
        self, *, seconds: float = KEPT, most: int = MAX_KEPT, most_bytes: int = MAX_BYTES
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_bytes = most_bytes
        self._most_each = min(MAX_EACH, most_bytes)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        """By age, oldest first."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def keep(
        self,
        owner: str,
        before: Sequence[Item],
        response: Mapping[str, Any],
        now: float,
        *,
        private: bool = False,
    ) -> bool:
        """Keeps a whole response, under its `id`, and the conversation `before` it; False where it
        alone is too much. `private`: nothing of them may leave the machine."""
        said, answer = orjson.dumps(list(before)), orjson.dumps(dict(response))
        entry = _Entry(owner, said, answer, now + self._seconds, private)
        if entry.size > self._most_each or entry.branched:
            return False
        identifier = response["id"]
        self._drop(identifier)
        self._entries[identifier] = entry
        self._bytes += entry.size
        self._bound(now)
        return True

    def response(self, identifier: str, owner: str, now: float) -> bytes | None:
        """The response as JSON; None where it is not kept, or another owner's."""
        entry = self._find(identifier, owner, now)
        return None if entry is None else entry.response

    def before(self, identifier: str, owner: str, now: float) -> list[Item] | None:
        """The items of the conversation before it."""
        entry = self._find(identifier, owner, now)
        return None if entry is None else list(orjson.loads(entry.before))

    def recall(self, identifier: str, owner: str, now: float) -> list[Item] | None:
        """The items of the conversation up to and with it."""
        entry = self._find(identifier, owner, now)
        if entry is None:
            return None
        return [*orjson.loads(entry.before), *orjson.loads(entry.response)["output"]]

    def private(self, identifier: str, owner: str, now: float) -> bool:
        """Whether it is kept, and nothing of that conversation may leave the machine."""
        entry = self._find(identifier, owner, now)
        return entry is not None and entry.private

    def forget(self, identifier: str, owner: str, now: float) -> bool:
        """Whether it was kept until now. Those that went on from it are kept all the same."""
        known = self._find(identifier, owner, now) is not None
        if known:
            self._drop(identifier)
        return known

    def _find(self, identifier: str, owner: str, now: float) -> _Entry | None:
        entry = self._entries.get(identifier)
        return None if entry is None or entry.owner != owner or entry.until <= now else entry

    def _bound(self, now: float) -> None:
        while self._entries:
            identifier, oldest = next(iter(self._entries.items()))
            full = len(self._entries) > self._most or self._bytes > self._most_bytes
            if oldest.until > now and not full:
                return
            self._drop(identifier)

    def _drop(self, identifier: str) -> None:
        entry = self._entries.pop(identifier, None)
        if entry is not None:
            self._bytes -= entry.size
