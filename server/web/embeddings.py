"""Embeddings, as a kind of Speech: nothing is streamed, and whoever answers does so in one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.chat.embeddings import parse_embedding
from server.chat.relay import Decoder, Encoder, Relay
from server.chat.vectors import Vectors
from server.errors import EngineError, ProviderError
from server.web.dialect import Speech, Turn
from server.web.whole import Folder


class Embeddings(Speech):
    endpoint = "embeddings"
    native = True

    def __init__(self, body: Mapping[str, Any], turn: Turn) -> None:
        self._asked = parse_embedding(body)
        super().__init__(self._asked)

    def relay(self, decoder: Decoder | None) -> Relay:
        return Vectors(self._asked, EngineError if decoder is None else ProviderError)

    def encoder(self) -> Encoder:
        raise TypeError("embeddings are never streamed")

    def folder(self) -> Folder:
        raise TypeError("embeddings are no events")
