"""Embeddings of OpenAI and of those who speak as it does, whichever of its chat APIs they have."""

from __future__ import annotations

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.embeddings import EmbeddingRequest, embedding_body
from server.providers.provider import Call


def encode_embedding(request: EmbeddingRequest, model: CloudModel) -> Call:
    """The call that asks `model` for the vectors of `request`; its answer is for chat.Vectors."""
    body = {"model": model.name, **embedding_body(request)}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return Call("/embeddings", orjson.dumps(body), {})
