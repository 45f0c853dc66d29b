"""Cloud APIs: their protocols (pure), and the one way out (`egress.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from server.catalogue.cloud import Kind
from server.providers import (
    anthropic,
    gemini,
    gemini_embeddings,
    openai,
    openai_embeddings,
    openai_responses,
)
from server.providers.provider import CloudProtocol, Embedder

PROTOCOLS: Mapping[Kind, CloudProtocol] = {
    "openai": openai.PROTOCOL,
    "openai-responses": openai_responses.PROTOCOL,
    "anthropic": anthropic.PROTOCOL,
    "gemini": gemini.PROTOCOL,
}
EMBEDDERS: Mapping[Kind, Embedder] = {
    "openai": openai_embeddings.EMBEDDER,
    "openai-responses": openai_embeddings.EMBEDDER,
    "gemini": gemini_embeddings.EMBEDDER,
}
"""Those of catalogue.EMBEDDING_KINDS."""
