"""Embeddings as the fake providers make them."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson


def vector_of(text: Any, dimensions: int) -> list[float]:
    """The same for the same text; sums of powers of two, which every format holds exactly."""
    digest = hashlib.sha256(orjson.dumps(text)).digest()
    return [digest[index % len(digest)] / 256 - 0.5 for index in range(dimensions)]
