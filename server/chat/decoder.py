"""What decoders of streams share: an error does not take with it what was said before it."""

from __future__ import annotations

import abc

from server.chat.events import Event
from server.errors import HoldfastError


class StreamDecoder(abc.ABC):
    """A `relay.Decoder`. Where one piece of the stream holds words and then an error, the error
    that `feed` raises has the words' events as `said`."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises what the stream reports, and the fault of what cannot be read."""
        events: list[Event] = []
        try:
            self._feed(chunk, events)
        except HoldfastError as error:
            error.said = events
            raise
        return events

    @abc.abstractmethod
    def _feed(self, chunk: bytes, events: list[Event]) -> None:
        """Adds to `events`, one by one, those of the chunk; raises what `feed` does."""
