"""What a cloud has said so far, counted as it passes: for time-outs, fallback and the bill."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from server.chat.events import (
    Arguments,
    Began,
    Ended,
    Event,
    Finished,
    Refusal,
    Text,
    Thinking,
    Used,
)
from server.chat.relay import Decoder
from server.chat.usage import Usage
from server.errors import HoldfastError

_WORDS = (Text, Thinking, Arguments, Refusal)
_BYTES_PER_TOKEN = 3
"""From above for English (about 4) and code (3 to 4), and about right for Chinese, whose characters
have three bytes."""
_PAUSE = 1.0
"""Seconds: a shorter silence is one between two pieces of the answer."""
_MOST = 2**40
"""Tokens: what tells of more is a mistake, and its sums are beyond what JSON has numbers for."""


class Tally:
    """A `Decoder` around another one that hands on what that reads, but for a usage that is none.
    Made when the call is sent.

    `clock`: seconds.
    """

    def __init__(self, decoder: Decoder, clock: Callable[[], float] = time.monotonic) -> None:
        self.decoder = decoder
        """May be replaced as long as nothing has come."""
        self.usage: Usage | None = None
        """As last told."""
        self.spoke = False
        """Whether anything but ceremony has come: a word, a thought, a call."""
        self.ended = False
        """Whether it came to a good end."""
        self.steps = 0
        """Events that were progress. A ping is none, nor is an empty word."""
        self._bytes = 0
        self._clock = clock
        self._answered_at = clock()
        self._silent = 0.0

    def feed(self, chunk: bytes) -> list[Event]:
        try:
            events = self.decoder.feed(chunk)
        except HoldfastError as error:
            self._count(error.said)
            raise
        self._count(events)
        if self.usage is not None and not credible(self.usage, _MOST, _MOST):
            return [event for event in events if not isinstance(event, Used)]
        return events

    def _count(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, _WORDS):
                if not event.text:
                    continue
                self._bytes += len(event.text.encode(errors="replace"))
                self.spoke = True
                if not isinstance(event, Thinking):
                    self._silent = self.silent
                    self._answered_at = self._clock()
            elif isinstance(event, Used):
                self.usage = event.usage
                continue
            elif isinstance(event, Began):
                continue
            elif isinstance(event, Ended):
                self.ended = True
            elif not isinstance(event, Finished):
                self.spoke = True
            self.steps += 1

    @property
    def counted(self) -> int:
        """Tokens in what was said: an estimate, from above for most text."""
        return -(-self._bytes // _BYTES_PER_TOKEN)

    @property
    def silent(self) -> float:
        """Seconds in which no word of the answer came, so that it may have thought. What it tells
        of its thoughts is most often a summary, and no measure of them."""
        pause = self._clock() - self._answered_at
        return self._silent + (pause if pause >= _PAUSE else 0.0)


def credible(usage: Usage, read: int, written: int) -> bool:
    """Whether all that it counts are numbers of tokens: at the most so many `read` and `written`.
    They are as the provider told them, whatever that was."""
    counts = [
        (usage.prompt_tokens, read),
        (usage.cached_tokens, read),
        (usage.cache_write_tokens, read),
        (usage.completion_tokens, written),
        (usage.reasoning_tokens, written),
    ]
    return all(type(told) is int and 0 <= told <= most for told, most in counts)
