"""What of earlier prompts each target should still have in its caches, and where sessions went.

A llama-server keeps the last prompt of each slot, and in RAM as many as fit that lost theirs; while
one is answered, it is in its slot, where no other request finds it, nor what it goes on from. vLLM
has as many blocks as its cache, and a cloud what it saw in the last minutes. So each target has
some prompts in any case, others as far as there is room, all for so long, and the one that was not
used for longest goes first. A prompt that goes on where another ended takes its place. What a
target really found in its cache corrects this (observe.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from server.record import record
from server.routing.prefix import Prefix

SESSION_TTL = 1800.0
"""Seconds for which a session is remembered."""
_SESSIONS = 10_000


@record()
class Cached:
    tokens: int
    """Of the prompt, by the estimate of tokens.py, not raised."""
    continues: bool
    """Whether an earlier prompt is the whole beginning of this one. A cache with a recurrent state
    can be used then, and often only then."""


NOTHING = Cached(0, False)


def in_tokens(prefix: Prefix) -> float:
    return prefix[-1][1]


class Prefixes:
    """The prompts that one target should have: `own` in any case, more as far as those that are too
    many take no more than `room`, each for `ttl` seconds. `size`: what one takes of that."""

    def __init__(
        self, own: int, room: float, ttl: float, size: Callable[[Prefix], float] = in_tokens
    ) -> None:
        self._own = own
        self._room = room
        self._ttl = ttl
        self._size_of = size
        self._held: OrderedDict[int, tuple[Prefix, float]] = OrderedDict()
        """By the hash of the whole prompt, with the time of its last use; the latest last."""
        self._counts: dict[int, int] = {}
        """How many of them have this beginning."""
        self._size = 0.0

    def cached(self, prefix: Prefix, now: float) -> Cached:
        self._expire(now)
        if not self._counts:
            return NOTHING
        for what, tokens in reversed(prefix):
            if what in self._counts:
                return Cached(tokens, what in self._held)
        return NOTHING

    def take(self, prefix: Prefix) -> Prefix:
        """What such a prompt goes on from, which is no longer held: its request has it to itself.
        Nothing: it goes on from none."""
        for what, _ in reversed(prefix):
            if what in self._held:
                return self._forget(what)
        return ()

    def remember(self, prefix: Prefix, now: float) -> None:
        """The target has read a prompt that begins so, and has it for others."""
        if not prefix:
            return
        self._expire(now)
        self.take(prefix)
        self._held[prefix[-1][0]] = (prefix, now)
        self._size += self._size_of(prefix)
        for what, _ in prefix:
            self._counts[what] = self._counts.get(what, 0) + 1
        while self._crowded():
            self._forget(next(iter(self._held)))

    def clear(self) -> None:
        """Its engine has ended, and its cache with it."""
        self._held.clear()
        self._counts.clear()
        self._size = 0.0

    def _crowded(self) -> bool:
        """Whether those beyond its own take too much room, as far as all take the same."""
        held = len(self._held)
        return held > self._own and self._size * (held - self._own) > self._room * held

    def _expire(self, now: float) -> None:
        while self._held:
            what, (_, used) = next(iter(self._held.items()))
            if now - used <= self._ttl:
                return
            self._forget(what)

    def _forget(self, what: int) -> Prefix:
        prefix, _ = self._held.pop(what)
        self._size -= self._size_of(prefix)
        for one, _ in prefix:
            if self._counts[one] == 1:
                del self._counts[one]
            else:
                self._counts[one] -= 1
        return prefix


class Sessions:
    """Where each session's last request went; the sessions of one key are not another's."""

    def __init__(self, most: int = _SESSIONS, ttl: float = SESSION_TTL) -> None:
        self._most = most
        self._ttl = ttl
        self._last: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def last(self, key: str, session: str, now: float) -> str | None:
        """The name of the candidate that answered."""
        found = self._last.get((key, session))
        return None if found is None or now - found[1] > self._ttl else found[0]

    def went(self, key: str, session: str, name: str, now: float) -> None:
        self._last[key, session] = (name, now)
        self._last.move_to_end((key, session))
        if len(self._last) > self._most:
            self._last.popitem(last=False)
