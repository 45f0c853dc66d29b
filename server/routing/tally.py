"""What a cloud has said so far, counted as it passes: for time-outs, fallback and the bill."""

from __future__ import annotations

from collections.abc import Sequence

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


class Tally:
    """A `Decoder` around another one that hands on what that reads."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.usage: Usage | None = None
        """As last told."""
        self.spoke = False
        """Whether anything but ceremony has come: a word, a thought, a call."""
        self.ended = False
        """Whether it came to a good end."""
        self.steps = 0
        """Events that were progress. A ping is none, nor is an empty word."""
        self._bytes = 0

    def feed(self, chunk: bytes) -> list[Event]:
        try:
            events = self._decoder.feed(chunk)
        except HoldfastError as error:
            self._count(error.said)
            raise
        self._count(events)
        return events

    def _count(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, _WORDS):
                if not event.text:
                    continue
                self._bytes += len(event.text.encode(errors="replace"))
                self.spoke = True
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
