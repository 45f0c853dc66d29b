"""A target's stream -> a client's: passed on (`sse.StreamFilter`), or by way of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from server.chat.events import Began, Ended, Event, Finished, Used
from server.chat.usage import Usage
from server.errors import HoldfastError

_SAYS_NOTHING = (Began, Used, Finished, Ended)


class Decoder(Protocol):
    """Reads one target's stream, in whatever pieces it comes.

    `feed` raises HoldfastError for an error that the stream carries, and for what cannot be read,
    with what was said right before it as the error's `said` (decoder.py). After `Ended` it drops
    what may follow.
    """

    def feed(self, chunk: bytes, /) -> list[Event]: ...


class Encoder(Protocol):
    """Writes one client's stream, in whole events of its dialect.

    `error` is the event that ends a broken stream: nothing that looks like a good end follows it.
    """

    def feed(self, events: Sequence[Event], /) -> bytes: ...

    def error(self, error: HoldfastError, /) -> bytes: ...


class Relay(Protocol):
    """One target's stream on its way to one client.

    `feed` gives whole events for the client, perhaps none yet, and raises HoldfastError where the
    stream broke: the caller tells the client.
    """

    usage: Usage | None
    """Known shortly before `done`, perhaps never."""
    done: bool
    """The target ended its stream as it should; one that ends without it is broken."""
    error: HoldfastError | None
    """The target reported an error, which has been passed on as the last event."""

    def feed(self, chunk: bytes, /) -> bytes: ...


class Translation:
    """A `Relay` by way of events."""

    def __init__(self, decoder: Decoder, encoder: Encoder) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: HoldfastError | None = None
        self.spoke = False
        """Whether anything but ceremony has come: from then on there is no other attempt."""
        self.broken: HoldfastError | None = None
        """What the stream reported right after the words that were given last: they go to the
        client before it is told of this."""
        self._decoder = decoder
        self.encoder = encoder

    def feed(self, chunk: bytes) -> bytes:
        try:
            events: Sequence[Event] = self._decoder.feed(chunk)
        except HoldfastError as error:
            if not error.said:
                raise
            self.broken, events = error, error.said
        for event in events:
            if isinstance(event, Used):
                self.usage = event.usage
            elif isinstance(event, Ended):
                self.done = True
            elif not self.spoke:
                self.spoke = not isinstance(event, _SAYS_NOTHING)
        out = self.encoder.feed(events) if events else b""
        if self.broken is not None and not out:
            raise self.broken
        return out
