"""Why a build cannot be loaded, in words and bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from server.engines.decision import Refusal
from server.engines.occupant import Memory
from server.errors import DoesNotFit
from server.planning.device import RAM_ID
from server.planning.rig import Rig
from server.units import format_bytes


def does_not_fit(name: str, needs: Memory, refusal: Refusal, rig: Rig | None) -> DoesNotFit:
    """What is missing where, who stays there, and who else holds memory there."""
    why = [
        f"it needs {format_bytes(needs[pool])} of {_name(pool, rig)} ({needs[pool]} bytes), "
        f"{format_bytes(short)} ({short} bytes) more than can be made free"
        for pool, short in refusal.short.items()
    ]
    if refusal.stay:
        stay = " and ".join(refusal.stay)
        why.append(f"{stay} {'is' if len(refusal.stay) == 1 else 'are'} pinned there")
    return DoesNotFit(
        f"{name} does not fit",
        why="; ".join([*why, *strangers(rig, refusal.short)]),
        next_step="Choose a smaller build, lower context or slots under [serve], or free memory",
    )


def among_strangers(error: DoesNotFit, needs: Memory, rig: Rig | None) -> DoesNotFit:
    """`error`, with those others who hold memory where it was short."""
    why = "; ".join([error.why, *strangers(rig, needs)])
    return DoesNotFit(error.what, why=why, next_step=error.next_step)


def strangers(rig: Rig | None, pools: Memory) -> Iterator[str]:
    """Who else holds memory there: `process 4242 (python) holds 3.1 GiB of GPU 0 (...)`."""
    for device in () if rig is None else (*rig.gpus, rig.ram):
        for user in device.used_by if device.pool in pools else ():
            held = "memory" if user.memory is None else format_bytes(user.memory)
            yield f"process {user.pid} ({user.name or 'not visible'}) holds {held} of {device.name}"


def _name(pool: str, rig: Rig | None) -> str:
    if pool == RAM_ID:
        return "RAM"
    return pool if rig is None else next((g.name for g in rig.gpus if g.pool == pool), pool)
