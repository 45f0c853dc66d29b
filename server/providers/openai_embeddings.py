"""Embeddings of OpenAI and of those who speak as it does, whichever of its chat APIs they have."""

from __future__ import annotations

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.embeddings import EmbeddingRequest, embedding_body
from server.providers.provider import Call


class OpenAIEmbedder:
    def encode(self, request: EmbeddingRequest, model: CloudModel) -> Call:
        body = {"model": model.name, **embedding_body(request)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        return Call("/embeddings", orjson.dumps(body), {})

    def read(self, body: bytes, model: CloudModel, tokens: int) -> bytes:
        return body


EMBEDDER = OpenAIEmbedder()
