"""The `[serve]` table: what `holdfast serve` does when no flag says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from server.units import MIB


@dataclass(frozen=True, slots=True)
class Serve:
    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    """Names to serve, `model` or `model:build`; empty: what the store holds, else the demo."""
    context: int | None = None
    """Tokens per slot; None: as many as the model takes and the memory holds."""
    slots: int | None = None
    """Requests that one engine works on at a time; None: chosen from the memory."""
    queue: int = 64
    """Requests that wait for a slot of one engine before more are refused with 429."""
    queue_timeout: float = 120.0
    """Seconds that a request waits for a slot."""
    drain_timeout: float = 30.0
    """Seconds that running requests get to finish when an engine or Holdfast stops."""
    load_timeout: float = 900.0
    """Seconds without progress after which a loading engine counts as stuck."""
    max_body: int = 32 * MIB
    """Bytes of a request's body."""
