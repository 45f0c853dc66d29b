"""Cloud APIs: their protocols (pure), and the one way out (`egress.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from server.catalogue.cloud import Kind
from server.providers import anthropic, gemini, openai, openai_responses
from server.providers.provider import CloudProtocol

PROTOCOLS: Mapping[Kind, CloudProtocol] = {
    "openai": openai.PROTOCOL,
    "openai-responses": openai_responses.PROTOCOL,
    "anthropic": anthropic.PROTOCOL,
    "gemini": gemini.PROTOCOL,
}
