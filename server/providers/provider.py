"""What a cloud's protocol is, to Holdfast: requests and answers translated, and nothing sent.

Everything here is pure. `egress.py` is the only place from which a call leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from server.catalogue.cloud import CloudModel
from server.chat.embeddings import EmbeddingRequest
from server.chat.events import Event
from server.chat.relay import Decoder
from server.chat.request import ChatRequest
from server.errors import HoldfastError
from server.providers.quota import Quota


@dataclass(frozen=True, slots=True)
class Call:
    """One POST to a provider. Who it goes to, and with which key, is not for the call to say."""

    path: str
    """Below the provider's URL; made from the catalogue, never from a request."""
    body: bytes
    headers: Mapping[str, str]
    """Beside content-type, authentication and what HTTP itself needs."""
    content_type: str = "application/json"


class Embedder(Protocol):
    """How a provider is asked for embeddings. One value without state for each."""

    def encode(self, request: EmbeddingRequest, model: CloudModel) -> Call:
        """The call that asks `model` for the vectors of `request`.

        Raises RequestError, naming the field, for what this target cannot express.
        """
        ...

    def read(self, body: bytes, model: CloudModel, tokens: int) -> bytes:
        """Its whole answer as OpenAI has it, for chat.Vectors. `tokens`: those of the inputs as
        they were estimated, for a provider that does not tell them.

        Raises ProviderError for one that cannot be read.
        """
        ...


class CloudProtocol(Protocol):
    """A provider's protocol, such as Anthropic's Messages. One value without state for each."""

    def authentication(self, key: str) -> Mapping[str, str]:
        """The headers that carry the key."""
        ...

    def encode(self, request: ChatRequest, model: CloudModel) -> Call:
        """The call that asks `model` for a stream of what `request` wants.

        Raises RequestError, naming the field, for what this target cannot express.
        """
        ...

    def decoder(self, request: ChatRequest) -> Decoder:
        """Reads the stream of one answer to `request`."""
        ...

    def decode(self, body: bytes, request: ChatRequest) -> list[Event]:
        """The events of an answer that came whole, as from an endpoint that cannot stream.

        Raises ProviderError for one that cannot be read.
        """
        ...

    def quota(self, headers: Mapping[str, str]) -> Quota:
        """What an answer of any status says is left of our share; nothing, where it does not."""
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
        """What an answer of another `status` than 200 means.

        ProviderBusy (with `retry_after` where it said so) for limits and overload, ProviderRefused
        for a key or an account, RequestError or ContextExceeded for what the client asked, else
        ProviderError. A provider's text is passed on only where it concerns the request.
        """
        ...
