"""The `[serve]` table: what `holdfast serve` does when no flag says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue.model import EngineName
from server.units import MIB


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A `[[serve.model]]` table: what one model is to be served with."""

    name: str
    """`model` or `model:build`; of a model, it also holds for its builds that have no table."""
    weight: float = 1.0
    """Its part of the requests, against those of the others."""
    context: int | None = None
    """Tokens that each slot must hold at least; None: `[serve] context`."""
    slots: int | None = None
    """Requests at a time; None: `[serve] slots`."""
    speed: float | None = None
    """Tokens/s that one request alone must get at least; None: however slow, or for a model that
    only `auto` considers, as fast as people read."""
    pin: bool = False
    """Whether it is always resident."""
    ttl: float | None = None
    """Seconds of idleness after which it is unloaded; None: when its memory is needed. Where the
    file does not say, `[serve] keep_alive`."""
    engines: tuple[EngineName, ...] | None = None
    """Engines that may run it; None: any."""
    embeddings: bool = False
    """Whether it makes embeddings as well, which only llama-server does beside chats."""


@dataclass(frozen=True, slots=True)
class Serve:
    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    """Names to serve, `model` or `model:build`; empty: those of `model`, and where that is empty
    too, or `auto` is set, the best of what the store holds, else the demo."""
    auto: bool = False
    """Whether `models = "auto"` was written: the tables in `model` are then settings only."""
    model: tuple[ServedModel, ...] = ()
    context: int | None = None
    """Tokens per slot; None: as many as the model takes and the memory holds."""
    slots: int | None = None
    """Requests that one engine works on at a time; None: chosen from the memory."""
    keep_alive: float | None = None
    """Seconds of idleness after which a model is unloaded; None: when its memory is needed."""
    preload: tuple[str, ...] = ()
    """Names of models that are loaded at the start, before the first request for them."""
    sleep: bool = True
    """Whether an idle vLLM may leave the GPU and keep its weights in RAM, from which it wakes."""
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
