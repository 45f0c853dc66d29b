"""The ways in which clients speak: how their requests are read, and their answers written.

An engine's own way is OpenAI's chat and completions: between the two, answers are passed on
(`chat.StreamFilter`, `chat.finish_reply`). All else goes by way of events (`chat/events.py`).
"""

from __future__ import annotations

import abc
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from server.chat import (
    ChatRequest,
    StreamFilter,
    parse_chat,
    parse_completion,
    sse_error,
)
from server.chat.answer import Answer
from server.chat.anthropic import WORDS as MESSAGES_WORDS
from server.chat.anthropic import MessagesEncoder, WholeMessage, parse_message
from server.chat.chunk_decoder import ChunkDecoder
from server.chat.chunk_encoder import ChunkEncoder, completion
from server.chat.embeddings import EmbeddingRequest
from server.chat.events import Event
from server.chat.relay import Decoder, Encoder, Relay, Translation
from server.chat.responses import WORDS as RESPONSES_WORDS
from server.chat.responses import Kept, ResponsesEncoder, parse_response, whole_response
from server.chat.responses.items import Item
from server.chat.words import Words, in_words
from server.errors import HoldfastError, RequestError
from server.record import record
from server.routing.leg import Request
from server.routing.needs import Endpoint
from server.web.exchange import ErrorForm, Header
from server.web.whole import Folder, Folding, Whole


@record()
class Turn:
    """What is known of a request before it is read."""

    request_id: str
    owner: str
    """The client, as far as what it may see of earlier answers goes."""
    kept: Kept
    """Earlier conversations."""


class Speech(abc.ABC):
    """One request as its client speaks, and the writer of its answer.

    Made of a body and a turn; raises RequestError.
    """

    endpoint: ClassVar[Endpoint]
    native: bool = False
    """Whether it is an engine's own way."""
    words: ClassVar[Words] = {}
    """What its API calls the fields of chat completions."""

    private_because: str = ""
    """What makes it local-only beside what its headers and its key say, in words."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.prompt_tokens = 0
        """An estimate, for answers that tell it before it was counted."""

    @property
    def asked(self) -> Request:
        """The request as targets are asked: as a stream where the answer has to be translated."""
        if self.native or self.request.stream or isinstance(self.request, EmbeddingRequest):
            return self.request
        return replace(self.request, stream=True, include_usage=True)

    def relay(self, decoder: Decoder | None) -> Relay:
        """For a target's stream, which `decoder` reads; None: an engine's."""
        if decoder is None:
            if self.native:
                request = self.request
                assert not isinstance(request, EmbeddingRequest)
                return StreamFilter(request) if request.stream else Whole(request)
            decoder = ChunkDecoder()
        if not self.request.stream:
            return Folding(decoder, self.folder())
        return Translation(decoder, self.encoder())

    def broken(self, error: HoldfastError, relay: Relay | None) -> bytes:
        """The event that ends a stream that broke, which `relay` wrote as far as it came."""
        return relay.encoder.error(error) if isinstance(relay, Translation) else sse_error(error)

    def answered(self, relay: Relay, *, private: bool) -> None:
        """The answer has been delivered to its end; `relay` wrote it. `private`: nothing of it may
        leave."""
        return

    def form(self, form: ErrorForm) -> ErrorForm:
        """How an error is told that a target finds in the request; `form`: any other."""
        words = self.words
        if not words:
            return form
        return lambda error: form(
            in_words(error, words) if isinstance(error, RequestError) else error
        )

    @abc.abstractmethod
    def encoder(self) -> Encoder:
        """For an answer that is streamed."""

    @abc.abstractmethod
    def folder(self) -> Folder:
        """For one that is not."""


Manner = Callable[[Mapping[str, Any], Turn], Speech]
"""A kind of Speech."""


class Chat(Speech):
    endpoint = "chat"

    def __init__(self, body: Mapping[str, Any], turn: Turn) -> None:
        self._chat = parse_chat(body)
        self.native = not self._chat.custom_tools  # engines know functions only
        super().__init__(self._chat)

    def encoder(self) -> Encoder:
        return ChunkEncoder(self._chat, int(time.time()))

    def folder(self) -> Folder:
        return _WholeChat(self._chat)


class Completions(Speech):
    """Engines' only: no cloud is asked for these."""

    endpoint = "completions"
    native = True

    def __init__(self, body: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(parse_completion(body))

    def encoder(self) -> Encoder:
        raise TypeError("completions are never translated")

    def folder(self) -> Folder:
        raise TypeError("completions are never translated")


class Messages(Speech):
    endpoint = "messages"
    words = MESSAGES_WORDS

    def __init__(self, body: Mapping[str, Any], turn: Turn) -> None:
        self._chat = parse_message(body)
        self._id = turn.request_id
        super().__init__(self._chat)

    def broken(self, error: HoldfastError, relay: Relay | None) -> bytes:
        encoder = relay.encoder if isinstance(relay, Translation) else self.encoder()
        return encoder.error(error)

    def encoder(self) -> Encoder:
        return MessagesEncoder(self._chat, self._id, self.prompt_tokens)

    def folder(self) -> Folder:
        return WholeMessage(self._chat, self._id)


class Responses(Speech):
    """What is to be stored is kept in memory, for `previous_response_id` and web/responses.py."""

    endpoint = "responses"
    words = RESPONSES_WORDS

    def __init__(self, body: Mapping[str, Any], turn: Turn) -> None:
        self._turn = turn
        self._asked = parse_response(body, self._recall)
        self._name = f"resp_{secrets.token_hex(24)}"
        self._created = int(time.time())
        super().__init__(self._asked.chat)

    def broken(self, error: HoldfastError, relay: Relay | None) -> bytes:
        encoder = relay.encoder if isinstance(relay, Translation) else self.encoder()
        return encoder.error(error)

    def encoder(self) -> ResponsesEncoder:
        return ResponsesEncoder(self._asked, self._name, self._created)

    def folder(self) -> _WholeResponse:
        return _WholeResponse(self)

    def whole(self, events: list[Event]) -> dict[str, Any]:
        return whole_response(events, self._asked, self._name, self._created)

    def answered(self, relay: Relay, *, private: bool) -> None:
        if not self._asked.store:
            return
        writer = relay.encoder if isinstance(relay, Translation) else _folder_of(relay)
        assert isinstance(writer, ResponsesEncoder | _WholeResponse)
        turn = self._turn
        now = time.monotonic()
        turn.kept.keep(turn.owner, self._asked.items, writer.response, now, private=private)

    def _recall(self, identifier: str) -> list[Item] | None:
        kept, owner, now = self._turn.kept, self._turn.owner, time.monotonic()
        if kept.private(identifier, owner, now):
            self.private_because = "the response that it goes on from was local-only"
        return kept.recall(identifier, owner, now)


def _folder_of(relay: Relay) -> Folder:
    assert isinstance(relay, Folding)
    return relay.folder


class _WholeChat:
    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._answer = Answer()

    def feed(self, events: list[Event]) -> None:
        self._answer.feed(events)

    def body(self) -> bytes:
        return completion(self._answer, self._request, int(time.time()))


class _WholeResponse:
    def __init__(self, speech: Responses) -> None:
        self._speech = speech
        self._events: list[Event] = []
        self.response: dict[str, Any] = {}

    def feed(self, events: list[Event]) -> None:
        self._events += events

    def body(self) -> bytes:
        self.response = self._speech.whole(self._events)
        return orjson.dumps(self.response)


def anthropic_form(request_id: str) -> ErrorForm:
    def form(error: HoldfastError) -> tuple[bytes, list[Header]]:
        return orjson.dumps(error.anthropic_body(request_id)), []

    return form
