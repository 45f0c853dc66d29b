"""The `[store]` table: how weights are fetched, and where copies of them are kept."""

from __future__ import annotations

from dataclasses import dataclass

from server.units import GIB

SOURCES = ("huggingface", "modelscope")
"""Where weights can be fetched from."""


@dataclass(frozen=True, slots=True)
class Store:
    copies: tuple[str, ...] = ()
    """Further places that hold the same: absolute folders, or `s3://bucket/prefix`."""
    min_copies: int = 1
    """How many places must hold each revision, the store itself being one of them."""
    jobs: int = 8
    """Connections at a time."""
    limit_rate: int | None = None
    """Bytes a second, over all connections."""
    window: str | None = None
    """The hours of the day, local time, in which pulls work: `"01:00-06:00"`; None: always."""
    reserve: int = 10 * GIB
    """Bytes of the disk that a pull leaves free."""
    sources: tuple[str, ...] = SOURCES
    """In the order in which they are asked."""
    hub: str | None = None
    """The hub's address where HF_ENDPOINT is not set; None: Hugging Face."""
