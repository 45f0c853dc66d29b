"""A plan out of seats: why each model is where it is, and what keeps it from being better. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from server.planning.alike import moved
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.device import RAM_ID
from server.planning.plan import Assignment, Option, Plan, PoolUse, Rejection, Residency
from server.planning.rig import Rig
from server.planning.room import Seat, heights, over, score, used
from server.planning.speed import Bound
from server.planning.worth import Mode, lead, serves
from server.units import MIB, format_duration

RESIDENCY: Mapping[Mode, Residency] = {
    "resident": "resident",
    "asleep": "asleep",
    "beside": "on demand",
    "in turn": "on demand",
}
_BOUNDS: Mapping[Bound, str] = {
    "bandwidth": "memory bandwidth",
    "compute": "computing power",
    "interconnect": "the links between its GPUs",
}
_CLEARLY = 0.95
"""An option is better where its seconds for a token are at most this part."""


def plan_of(
    seats: Sequence[Seat],
    options: Sequence[Option],
    demand: Demand,
    rig: Rig,
    *,
    running: Sequence[Deployment] = (),
    rejections: Sequence[Rejection] = (),
    proven: bool,
    gap: float,
) -> Plan:
    """The plan with reasons. Rejected builds that are in it after all, for another wish, go."""
    held = used(seats, rig)
    taken = {seat.option.deployment.build for seat in seats}
    return Plan(
        assignments=tuple(_assignment(seat, seats, options, rig, running) for seat in seats),
        rejections=tuple(r for r in rejections if r.name not in taken),
        objective=score(seats, demand, rig, running),
        proven=proven,
        gap=gap,
        pools=tuple(
            PoolUse(d.pool, d.name, d.memory, d.free, held[d.pool] * MIB)
            for d in (*rig.gpus, rig.ram)
            if d.pool == d.id
        ),
    )


def pool_name(pool: str, rig: Rig) -> str:
    """`GPU 1`, `RAM`: the name of a memory pool without the product in brackets."""
    return rig.device(pool).name.partition(" (")[0]


def where(deployment: Deployment, rig: Rig) -> str:
    """`GPU 0 and GPU 1`, `GPU 0 and RAM`, `the CPU`."""
    names = [pool_name(gpu, rig) for gpu in deployment.gpus]
    if deployment.gpus and (deployment.cpu_experts or deployment.gpu_layers is not None):
        names.append("RAM")
    return " and ".join(names) or "the CPU"


def evicted(seat: Seat, seats: Sequence[Seat], rig: Rig) -> tuple[Seat, ...]:
    """What has to go while `seat`, which comes in turn, is there: the largest where it is short,
    until it fits."""
    if seat.mode != "in turn":
        return ()
    loaded = Seat(seat.wish, seat.share, seat.option, "resident")
    others = [s for s in seats if s is not seat and s.mode in ("resident", "asleep")]
    gone: list[Seat] = []
    while short := over([loaded, *others], rig):
        pool = max(short, key=lambda pool: (short[pool], pool))
        movable = [s for s in others if not s.wish.pin and _held(s, rig).get(pool, 0)]
        if not movable:
            break
        largest = max(movable, key=lambda s: (_held(s, rig)[pool], s.option.deployment.key))
        others.remove(largest)
        gone.append(largest)
    return tuple(gone)


def _held(seat: Seat, rig: Rig) -> Mapping[str, int]:
    footprint = seat.option.footprint if seat.mode == "resident" else seat.option.asleep
    return heights(footprint, rig) if footprint is not None else {}


def _assignment(
    seat: Seat,
    seats: Sequence[Seat],
    options: Sequence[Option],
    rig: Rig,
    running: Sequence[Deployment],
) -> Assignment:
    gone = evicted(seat, seats, rig)
    return Assignment(
        wish=seat.wish,
        option=seat.option,
        residency=RESIDENCY[seat.mode],
        reason="; ".join([_reason(seat, seats, gone, rig, running), *_extras(seat.option)]),
        binds=_binds(seat, seats, options, rig),
        evicts=tuple(s.option.deployment.build for s in gone),
    )


def _reason(
    seat: Seat,
    seats: Sequence[Seat],
    gone: Sequence[Seat],
    rig: Rig,
    running: Sequence[Deployment],
) -> str:
    load = format_duration(seat.option.load_seconds)
    if seat.mode == "beside":
        return f"loaded when asked for, in about {load}, beside all others"
    if seat.mode == "in turn":
        names = " and ".join(s.option.deployment.build for s in gone)
        make = "make" if len(gone) > 1 else "makes"
        return f"loaded when asked for, in about {load}; {names or 'another model'} {make} room"
    if seat.mode == "asleep":
        return "its weights wait in RAM, so that it wakes in seconds"
    reasons = []
    if seat.wish.pin:
        reasons.append("pinned")
    residents = [s for s in seats if s.mode == "resident"]
    if lead(seat.option, seat.wish) == max(lead(s.option, s.wish) for s in residents):
        place = where(seat.option.deployment, rig)
        reasons.append(
            f"the most capable model that fits and is fast enough: {seat.option.capability:.1f} "
            f"points, {seat.option.speed.decode:.0f} tokens/s on {place}"
        )
    elif not seat.wish.pin:
        reasons.append(f"ready beside the others on {where(seat.option.deployment, rig)}")
    if seat.option.deployment in running:
        reasons.append("runs already and is left as it is")
    return "; ".join(reasons)


def _extras(option: Option) -> Iterator[str]:
    d = option.deployment
    if d.draft_tokens:
        told = "a token is" if d.draft_tokens == 1 else f"{d.draft_tokens} tokens are"
        yield f"{told} drafted at each step (multi-token prediction)"
    if d.quantized_cache:
        yield (
            f"its KV cache is kept in {d.kv_type}, as no build of four bits and more meets the "
            "demand with f16"
        )


def _binds(seat: Seat, seats: Sequence[Seat], options: Sequence[Option], rig: Rig) -> str:
    """The memory that the next better option lacks; else what its speed depends on."""
    others = [s for s in seats if s is not seat]
    short: list[tuple[int, str]] = []
    for option in options:
        is_better = option.token_seconds < _CLEARLY * seat.option.token_seconds
        if is_better and serves(option, seat.wish):
            there = _in_place_of(seat, option, rig)
            missing = over([*others, Seat(seat.wish, seat.share, there, seat.mode)], rig)
            if missing:
                pool = max(missing, key=lambda pool: (missing[pool], pool))
                short.append((sum(missing.values()), pool))
    if short:
        _, pool = min(short)
        own = seat.option.deployment.gpus
        if pool == RAM_ID:
            return "RAM"
        # Which of several GPUs the better option would have stood on says nothing.
        is_one = pool in own or len(rig.gpus) == 1
        return f"memory of {pool_name(pool, rig)}" if is_one else "memory of the GPUs"
    bound = seat.option.speed.binds
    if bound == "interconnect":
        return _BOUNDS[bound]
    return f"{_BOUNDS[bound]} of {where(seat.option.deployment, rig)}"


def _in_place_of(seat: Seat, option: Option, rig: Rig) -> Option:
    """`option` on the seat's own GPUs, where they are as many and of the same products."""
    own = seat.option.deployment.gpus
    kinds = [[rig.device(gpu).product for gpu in gpus] for gpus in (own, option.deployment.gpus)]
    return moved(option, own) if kinds[0] == kinds[1] else option
