"""Relays for answers that are not streamed: nothing is said before all of it is there."""

from __future__ import annotations

from typing import Protocol

from server.chat import ChatRequest, CompletionRequest, Usage, finish_reply
from server.chat.events import Ended, Event, Used
from server.chat.relay import Decoder
from server.errors import HoldfastError


class Whole:
    """A `Relay` for an engine's whole answer to a client that speaks as it does."""

    def __init__(self, request: ChatRequest | CompletionRequest) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: HoldfastError | None = None
        self._request = request

    def feed(self, chunk: bytes) -> bytes:
        reply = finish_reply(chunk, self._request)
        self.usage, self.done = reply.usage, True
        return reply.body


class Folding:
    """A `Relay` by way of events, for one whole answer."""

    def __init__(self, decoder: Decoder, folder: Folder) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: HoldfastError | None = None
        self._decoder = decoder
        self.folder = folder

    def feed(self, chunk: bytes) -> bytes:
        events = self._decoder.feed(chunk)
        self.folder.feed(events)
        for event in events:
            if isinstance(event, Used):
                self.usage = event.usage
            elif isinstance(event, Ended):
                self.done = True
                return self.folder.body()
        return b""


class Folder(Protocol):
    """Makes one whole answer of events."""

    def feed(self, events: list[Event], /) -> None: ...

    def body(self) -> bytes: ...
