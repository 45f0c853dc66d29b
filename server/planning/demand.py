"""What is to be served: `[serve]` as wishes, one for each model, with nothing left open."""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import EngineName


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
