"""The memory that an engine takes: by device, and by what it is for."""

from __future__ import annotations

from server.planning.footprint.component import COMPONENTS, EXACT, RAM, Component, Footprint, Share
from server.planning.footprint.flat import (
    CONTEXT_CHECKPOINTS,
    PROMPT_CACHE,
    image_compute,
    kv_bytes_per_token,
    llama_server,
    parameters,
    state_bytes_per_sequence,
)
from server.planning.footprint.prediction import footprint

__all__ = [
    "COMPONENTS",
    "CONTEXT_CHECKPOINTS",
    "EXACT",
    "PROMPT_CACHE",
    "RAM",
    "Component",
    "Footprint",
    "Share",
    "footprint",
    "image_compute",
    "kv_bytes_per_token",
    "llama_server",
    "parameters",
    "state_bytes_per_sequence",
]
