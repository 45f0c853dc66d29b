"""What people ask of a plan: what the next best would be, and what would make it better. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from server.errors import DoesNotFit
from server.planning.demand import Demand
from server.planning.placement import place
from server.planning.plan import Assignment, NextBest, Option, Plan, Remedy
from server.planning.reasons import RESIDENCY, pool_name
from server.planning.rig import Rig
from server.planning.room import Seat, over
from server.planning.worth import Mode, coverage, lead, serves
from server.units import MIB, format_bytes

_REMEDIES = 5
_SECONDS = 2.0
"""Of work for the next best plan: it is told for comparison, and need not be proven."""


def explain(plan: Plan, options: Sequence[Option], demand: Demand, rig: Rig) -> Plan:
    """The plan with the next best one, and with what more memory would bring."""
    return replace(
        plan,
        next_best=_next_best(plan, options, demand, rig),
        remedies=tuple(_remedies(plan, options, rig))[:_REMEDIES],
    )


def _next_best(plan: Plan, options: Sequence[Option], demand: Demand, rig: Rig) -> NextBest | None:
    """The best plan without the build that leads this one; or else with it in another way."""
    first = max(plan.resident, key=lambda a: lead(a.option, a.wish), default=None)
    if first is None:
        return None
    mine = first.option.deployment
    for left in (
        [o for o in options if o.deployment.build != mine.build],
        [o for o in options if o.deployment != mine],
    ):
        try:
            other = place(left, demand, rig, seconds=_SECONDS)
        except DoesNotFit:
            continue
        new = max(other.resident, key=lambda a: lead(a.option, a.wish), default=None)
        if new is not None:
            return NextBest(_summary(new), _loses(plan, other, first, new))
    return None


def _summary(a: Assignment) -> str:
    d = a.option.deployment
    return f"{d.build} leads, {d.slots} x {d.context} tokens, {a.option.speed.decode:.0f} tokens/s"


def _loses(plan: Plan, other: Plan, first: Assignment, new: Assignment) -> str:
    """The first goal in which it is worse, in words."""
    for (name, best), (_, value) in zip(plan.objective, other.objective, strict=True):
        if value >= best:
            continue
        if name == "fidelity":
            return "precision: a KV cache, or weights, in fewer bits"
        if name == "lead":
            mine, theirs = (a.option.capability * a.option.retention for a in (first, new))
            if round(mine, 1) > round(theirs, 1):
                return (
                    f"{mine - theirs:.1f} points of capability: {theirs:.1f} instead of {mine:.1f}"
                )
            return "comfort: less context, fewer requests at a time, or no images"
        if name == "coverage":
            less = {a.wish.name for a in plan.resident} - {a.wish.name for a in other.resident}
            return (
                f"readiness: {', '.join(sorted(less)) or 'the smaller models'} would have to wait"
            )
        if name == "pace":
            return f"speed: answers would take {best - value} ms longer a token in all"
        return f"{best - value} GiB of headroom"
    return "nothing that the goals count"


def _remedies(plan: Plan, options: Sequence[Option], rig: Rig) -> Iterator[Remedy]:
    """The cheapest first: memory for what now has to be loaded on demand, then for what is left
    out altogether."""
    seats = [_seat(a) for a in plan.assignments]
    found: list[tuple[int, Remedy]] = []
    for seat, a in zip(seats, plan.assignments, strict=True):
        if a.residency == "on demand" and (more := _to_stay(seat, seats, options, rig)):
            gains = f"{a.option.deployment.model} stays resident instead of being loaded on demand"
            found.append((sum(more.values()), Remedy(_told(more, rig), gains, more)))
    served = {a.option.deployment.model for a in plan.assignments}
    nearest: dict[str, Remedy] = {}
    for r in sorted(plan.rejections, key=lambda r: (sum(r.short.values()), r.name)):
        model = r.name.partition(":")[0]
        if r.short and model not in served and model not in nearest:
            nearest[model] = Remedy(_told(r.short, rig), f"{r.name} can be served", dict(r.short))
    found += [(sum(r.more.values()), r) for r in nearest.values()]
    for _, remedy in sorted(found, key=lambda pair: (pair[0], pair[1].text)):
        # More than as much again is another machine, not a remedy for this one.
        if all(size <= rig.device(pool).memory for pool, size in remedy.more.items()):
            yield remedy


def _seat(a: Assignment) -> Seat:
    mode: Mode = next(mode for mode, residency in RESIDENCY.items() if residency == a.residency)
    if a.evicts:
        mode = "in turn"
    return Seat(a.wish, 1.0, a.option, mode)


def _to_stay(
    seat: Seat, seats: Sequence[Seat], options: Sequence[Option], rig: Rig
) -> dict[str, int]:
    """The fewest bytes, by pool, with which the model could be resident beside all others."""
    others = [s for s in seats if s is not seat and s.mode in ("resident", "asleep")]
    now = coverage(seat.option, seat.wish, seat.mode)
    best: dict[str, int] = {}
    for option in options:
        if not serves(option, seat.wish) or coverage(option, seat.wish, "resident") <= now:
            continue
        short = over([*others, Seat(seat.wish, seat.share, option, "resident")], rig)
        if short and (not best or sum(short.values()) < sum(best.values())):
            best = dict(short)
    return {pool: size * MIB for pool, size in best.items()}


def _told(more: Mapping[str, int], rig: Rig) -> str:
    return " and ".join(
        f"{format_bytes(size)} more "
        f"{'of RAM' if pool == rig.ram.pool else f'on {pool_name(pool, rig)}'}"
        for pool, size in more.items()
    )
