"""Cloud APIs: their protocols (pure), and the one way out (`egress.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from server.catalogue.cloud import Kind
from server.providers import anthropic, openai
from server.providers.provider import CloudProtocol

PROTOCOLS: Mapping[Kind, CloudProtocol] = {
    "openai": openai.PROTOCOL,
    "anthropic": anthropic.PROTOCOL,
}
