"""What the fleet is to run: each build's place in it, from a plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from server.engines.occupant import Memory
from server.planning.deployment import Deployment
from server.planning.device import RAM_ID
from server.planning.footprint.component import Footprint
from server.planning.plan import Assignment, Plan, Residency
from server.planning.rig import Rig
from server.planning.speed import Speed


@dataclass(frozen=True, slots=True)
class Berth:
    """A build, how it is launched, what it takes, and how long it stays."""

    name: str
    """The build's full name, by which it is asked for: that of the plan, also when the ladder has
    led to another build since."""
    deployment: Deployment
    needs: Memory
    """Predicted bytes by memory pool while it runs."""
    residency: Residency = "resident"
    asleep: Memory | None = None
    """Bytes by pool while asleep; None: its engine cannot sleep."""
    pin: bool = False
    ttl: float | None = None
    """Seconds of idleness after which it is unloaded; None: only when its memory is needed."""
    preload: bool = False
    """Loaded at the start, also where it is on demand."""
    weight: float = 1.0
    """Its part of the expected requests."""
    load_seconds: float = 1.0
    """Estimated, until it was measured."""
    least_context: int = 4096
    """Tokens a slot below which it does not go when memory is short."""
    least_slots: int = 1
    speed: Speed | None = field(default=None, compare=False)
    """As the planner expects it; None: nobody has asked it."""

    @property
    def devices(self) -> frozenset[str]:
        """What it computes on."""
        return frozenset(self.deployment.gpus or (RAM_ID,))


def berths(plan: Plan, rig: Rig, preload: frozenset[str] = frozenset()) -> tuple[Berth, ...]:
    """The plan's assignments as berths, those that sleep first: they load before others take the
    memory that they leave again. `preload`: names of models or builds to be loaded at the start."""
    return asleep_first([_berth(one, rig, preload) for one in plan.assignments])


def asleep_first(found: Sequence[Berth]) -> tuple[Berth, ...]:
    """`found`, those that sleep before all others, otherwise in their order."""
    return tuple(sorted(found, key=lambda berth: berth.residency != "asleep"))


def by_pool(footprint: Footprint, rig: Rig) -> Memory:
    """A footprint's bytes by the memory pool that each device draws from."""
    found: dict[str, int] = {}
    for device, size in footprint.by_device().items():
        pool = rig.device(device).pool
        found[pool] = found.get(pool, 0) + size
    return found


def starts(berth: Berth) -> bool:
    """Whether it is loaded without being asked for."""
    return berth.preload or berth.residency != "on demand"


def _berth(one: Assignment, rig: Rig, preload: frozenset[str]) -> Berth:
    wish, option = one.wish, one.option
    d = option.deployment
    return Berth(
        name=d.build,
        deployment=d,
        needs=by_pool(option.footprint, rig),
        residency=one.residency,
        asleep=None if option.asleep is None else by_pool(option.asleep, rig),
        pin=wish.pin,
        ttl=wish.ttl,
        preload=not preload.isdisjoint((d.model, d.build, wish.name)),
        weight=wish.weight,
        load_seconds=option.load_seconds,
        least_context=wish.context,
        least_slots=wish.slots,
        speed=option.speed,
    )
