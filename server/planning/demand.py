"""What is to be served: `[serve]` as wishes, one for each model, with nothing left open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from server.catalogue import Catalogue, EngineName, Model, Serve, ServedModel

DEMO = "demo"
"""The embedded model, which is served where nothing else can be; it is no wish unless named."""
READABLE = 8.0
"""Tokens per second: about six words, as fast as people read."""
LEAST_CONTEXT = 4096
"""Tokens below which a slot is of little use; longer is better, and is the planner's choice."""
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@dataclass(frozen=True, slots=True)
class Wish:
    model: str
    build: str | None
    """The build's id; None: the planner chooses."""
    weight: float
    """Its part of the requests, against those of the others."""
    context: int
    """Tokens that each slot must hold at least."""
    slots: int
    """Requests at a time, at least."""
    speed: float
    """Tokens/s that one request alone must get at least; 0: however slow."""
    pin: bool
    """Always resident: never evicted, never on demand."""
    ttl: float | None
    """Seconds of idleness after which it is unloaded; None: only when its memory is needed."""
    engines: tuple[EngineName, ...]
    """Engines that may run it, never empty."""
    context_limit: int | None = None
    """Tokens that a slot gets at most; None: what the model takes and the memory holds."""
    slots_limit: int | None = None
    """Slots at most; None: as many as suit the memory."""
    embeddings: bool = False
    """Whether it is to make embeddings as well."""

    @property
    def name(self) -> str:
        """`model` or `model:build`, as in the configuration."""
        return self.model if self.build is None else f"{self.model}:{self.build}"


@dataclass(frozen=True, slots=True)
class Demand:
    wishes: tuple[Wish, ...]
    """In the order of the configuration, the catalogue's for those that `auto` adds."""
    auto: bool
    """True: wishes that nobody wrote down are candidates, and leaving one out is no failure."""


def demand(catalogue: Catalogue) -> Demand:
    """`[serve]` of the catalogue, whose `models` a command line may have replaced.

    Raises ModelNotFound for a name that is not in the catalogue.
    """
    serve = catalogue.serve
    listed = serve.models or (() if serve.auto else tuple(table.name for table in serve.model))
    names = listed or tuple(_considered(catalogue))
    wishes = (_wish(catalogue, name, serve, auto=not listed) for name in names)
    return Demand(tuple(wishes), auto=not listed)


def _considered(catalogue: Catalogue) -> Iterator[str]:
    """Every model but the demo; in the place of one, the builds of it that have tables."""
    for model in catalogue.models:
        tables = [t.name for t in catalogue.serve.model if t.name.partition(":")[0] == model]
        if tables or model != DEMO:
            yield from tables or [model]


def _wish(catalogue: Catalogue, name: str, serve: Serve, *, auto: bool) -> Wish:
    model, build = catalogue.resolve(name)
    table = table_of(serve, name)
    context, context_limit = _context(model, table, serve)
    slots = table.slots or serve.slots
    least_speed = READABLE if auto and not table.pin else 0.0
    return Wish(
        model=model.id,
        build=build.id if build else None,
        weight=table.weight,
        context=context,
        slots=slots or 1,
        speed=least_speed if table.speed is None else table.speed,
        pin=table.pin,
        ttl=table.ttl,
        engines=("llama-server",) if table.embeddings else table.engines or ENGINES,
        context_limit=context_limit,
        slots_limit=slots,
        embeddings=table.embeddings,
    )


def table_of(serve: Serve, name: str) -> ServedModel:
    """The table of this name, else that of its model, else the defaults."""
    tables = {table.name: table for table in serve.model}
    default = ServedModel(name, ttl=serve.keep_alive)
    return tables.get(name) or tables.get(name.partition(":")[0]) or default


def _context(model: Model, table: ServedModel, serve: Serve) -> tuple[int, int | None]:
    """(least, most) tokens of a slot: a table gives the least, `[serve] context` gives both."""
    if table.context is not None:
        return min(table.context, model.context), None
    if serve.context is not None:
        exactly = min(serve.context, model.context)
        return exactly, exactly
    return min(LEAST_CONTEXT, model.context), None
