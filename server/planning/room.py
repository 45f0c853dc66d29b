"""The books of a plan: what each option takes of each memory pool, whether all fits, and what the
plan is worth. Every planner and the tests' exhaustive search are measured by this one account.

Bytes are rounded up to MiB and what is free is rounded down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from server.planning.demand import Demand, Wish
from server.planning.deployment import Deployment
from server.planning.footprint.component import Footprint
from server.planning.plan import Option
from server.planning.rig import Rig
from server.planning.worth import Mode, compromised, coverage, lead, pace
from server.units import MIB

STEP = 1024  # MiB; finer differences in what is left free decide nothing


@dataclass(frozen=True, slots=True)
class Seat:
    """A wish that is served: by which option, on which GPUs, and how it is kept."""

    wish: Wish
    share: float
    """Of the requests, against the wish that gets most."""
    option: Option
    mode: Mode


def capacity(rig: Rig) -> dict[str, int]:
    """Free MiB by pool."""
    return {pool: free // MIB for pool, free in rig.pools().items()}


def heights(footprint: Footprint, rig: Rig) -> dict[str, int]:
    """MiB by pool."""
    pools = {device.id: device.pool for device in (*rig.gpus, rig.ram)}
    sums: dict[str, int] = {}
    for device, size in footprint.by_device().items():
        sums[pools[device]] = sums.get(pools[device], 0) + size
    return {pool: -(-size // MIB) for pool, size in sums.items()}


def used(seats: Collection[Seat], rig: Rig) -> dict[str, int]:
    """MiB that residents and sleepers hold, by pool."""
    sums = dict.fromkeys(rig.pools(), 0)
    for seat in seats:
        held = seat.option.footprint if seat.mode == "resident" else None
        if seat.mode == "asleep":
            held = seat.option.asleep
        if held is not None:
            for pool, size in heights(held, rig).items():
                sums[pool] += size
    return sums


def over(seats: Collection[Seat], rig: Rig) -> Mapping[str, int]:
    """MiB by which pools are overfilled; empty: the seats are possible.

    Beside all that is held must be room for the largest that is loaded `beside`; what comes `in
    turn`, and what wakes, must fit beside the pinned.
    """
    free = capacity(rig)
    held = used(seats, rig)
    pinned = used([seat for seat in seats if seat.wish.pin], rig)
    needed = dict(held)
    for seat in seats:
        if seat.mode != "resident":
            base = held if seat.mode == "beside" else pinned
            for pool, size in heights(seat.option.footprint, rig).items():
                needed[pool] = max(needed[pool], base[pool] + size)
    return {pool: size - free[pool] for pool, size in needed.items() if size > free[pool]}


def disk(seats: Collection[Seat]) -> int:
    """Bytes that must still be fetched for the seats."""
    builds = {
        seat.option.deployment.build: seat.option.weights_bytes
        for seat in seats
        if not seat.option.held
    }
    return sum(builds.values())


def fits(seats: Collection[Seat], rig: Rig) -> bool:
    return not over(seats, rig) and disk(seats) <= rig.disk_free


def keep_value(option: Option) -> int:
    """What it saves not to start an engine anew: seconds."""
    return 1 + round(option.load_seconds)


def score(
    seats: Collection[Seat], demand: Demand, rig: Rig, running: Sequence[Deployment] = ()
) -> tuple[tuple[str, int], ...]:
    """What is maximized, the most important first. Under `auto` no model must be served."""
    residents = [seat for seat in seats if seat.mode == "resident"]
    kept = [seat for seat in residents if seat.option.deployment in running]
    left = sum(capacity(rig).values()) - sum(used(seats, rig).values())
    return (
        ("pinned", sum(seat.wish.pin for seat in residents)),
        ("served", 0 if demand.auto else len(seats)),
        ("fidelity", -sum(compromised(seat.option, seat.wish, demand) for seat in seats)),
        ("lead", max((lead(seat.option, seat.wish) for seat in residents), default=0)),
        ("coverage", sum(coverage(seat.option, seat.wish, seat.mode) for seat in seats)),
        ("kept", sum(keep_value(seat.option) for seat in kept)),
        ("pace", sum(pace(seat.option, seat.share, seat.mode) for seat in seats)),
        ("headroom", left // STEP),
    )
