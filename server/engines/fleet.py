"""The sole owner of what runs: every engine of this Holdfast, by name.

Engines start one after the other, because two that load at once mis-size each other, and only
while their predicted bytes fit into the memory that was free before the first of them started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from server.engines.engine import Engine
from server.engines.status import EngineStatus
from server.errors import DoesNotFit, HoldfastError, ModelNotFound
from server.units import format_bytes


@dataclass(frozen=True, slots=True)
class Member:
    """An engine of the fleet."""

    engine: Engine
    needs: int
    """Bytes of memory that it is predicted to take."""


class Fleet:
    """`available`: bytes of memory that the engines may take together."""

    def __init__(self, members: Sequence[Member], available: int) -> None:
        self._members = {member.engine.name: member for member in members}
        if len(self._members) < len(members):
            raise ValueError("two engines of a fleet have the same name")
        self._available = available

    def get(self, name: str) -> Engine:
        """The engine called `name`. Raises ModelNotFound."""
        try:
            return self._members[name].engine
        except KeyError:
            raise ModelNotFound(f"no engine serves {name!r}", param="model") from None

    def status(self) -> tuple[EngineStatus, ...]:
        """One look at every engine, in the order in which they start."""
        return tuple(member.engine.status() for member in self._members.values())

    async def start_all(self) -> None:
        """Start each engine that fits, and wait until it is ready or failed.

        A failure stays with its engine (`status`, `wait_ready`) and does not keep the others back.
        """
        free = self._available
        for member in self._members.values():
            refusal = fits(member.engine.name, member.needs, free)
            if refusal is not None:
                member.engine.refuse(refusal)
                continue
            with contextlib.suppress(HoldfastError):
                await member.engine.start()
                await member.engine.wait_ready()
                free -= member.needs

    async def stop_all(self, drain_timeout: float) -> None:
        """End every engine; requests that run get `drain_timeout` seconds. May be called twice."""
        await asyncio.gather(
            *(member.engine.stop(drain_timeout) for member in self._members.values())
        )


def fits(name: str, needs: int, free: int) -> DoesNotFit | None:
    """Why the engine `name`, of `needs` bytes, is not started with `free` bytes left; or None."""
    if needs <= free:
        return None
    return DoesNotFit(
        f"{name} does not fit",
        why=f"it needs {format_bytes(needs)} of memory ({needs} bytes), "
        f"and {format_bytes(max(free, 0))} ({max(free, 0)} bytes) is free",
        next_step="Choose a smaller build, lower context or slots under [serve], or free memory",
    )
