"""Embeddings of OpenAI and of those who speak as it does, whichever of its chat APIs they have."""

from __future__ import annotations

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.embeddings import (
    EmbeddingReply,
    EmbeddingRequest,
    embedding_body,
    finish_embedding,
)
from server.errors import ProviderError
from server.providers.provider import Call


def encode_embedding(request: EmbeddingRequest, model: CloudModel) -> Call:
    """The call that asks `model` for the vectors of `request`."""
    body = {"model": model.name, **embedding_body(request)}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return Call("/embeddings", orjson.dumps(body), {})


def decode_embedding(body: bytes, request: EmbeddingRequest) -> EmbeddingReply:
    """The client's answer. Raises ProviderError where `body` is not one vector for every input."""
    return finish_embedding(body, request, ProviderError)
