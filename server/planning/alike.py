"""Which GPUs of a rig are interchangeable: moving a deployment among them changes nothing.

A plan need only say how many of each kind an option takes; which ones is found in one go for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from server.planning.deployment import Deployment
from server.planning.device import Device
from server.planning.footprint.component import Footprint
from server.planning.plan import Option
from server.planning.rig import Rig

Group = tuple[str, ...]
"""Ids of interchangeable GPUs, in the rig's order."""


def groups(rig: Rig) -> tuple[Group, ...]:
    """The GPUs of `rig`, each in one group. How much memory is free may differ within a group."""
    found: list[list[Device]] = []
    for gpu in rig.gpus:
        home = next((group for group in found if _alike(rig, group[0], gpu)), None)
        if home is None:
            found.append([gpu])
        else:
            home.append(gpu)
    return tuple(tuple(gpu.id for gpu in group) for group in found)


def moved(option: Option, to: Sequence[str]) -> Option:
    """`option` on the GPUs `to`, which take the places of its own in order."""
    names = dict(zip(option.deployment.gpus, to, strict=True))
    if all(old == new for old, new in names.items()):
        return option
    return replace(
        option,
        deployment=replace(option.deployment, gpus=tuple(to)),
        footprint=_renamed(option.footprint, names),
        asleep=None if option.asleep is None else _renamed(option.asleep, names),
    )


def side_by_side(options: Sequence[Option], rig: Rig) -> tuple[Option, ...]:
    """The same options together, with interchangeable GPUs that have equal room renamed, so that a
    model stands on neighbours and the one on most GPUs comes first, as one would do it by hand."""
    free = rig.pools()
    ordered = sorted(options, key=lambda o: (-len(o.deployment.gpus), -o.capability))
    met = dict.fromkeys(gpu for option in ordered for gpu in option.deployment.gpus)
    names: dict[str, str] = {}
    for group in groups(rig):
        for room in {free.get(gpu) for gpu in group}:
            equal = [gpu for gpu in group if free.get(gpu) == room]
            names |= zip((gpu for gpu in met if gpu in equal), equal, strict=False)
    return tuple(moved(o, [names[gpu] for gpu in o.deployment.gpus]) for o in options)


def canonical(deployment: Deployment, alike: Sequence[Group]) -> Deployment:
    """`deployment` on the first GPUs of each group that it uses: equal for all it can move to."""
    home = {gpu: group for group in alike for gpu in group}
    taken: dict[Group, int] = {}
    gpus = []
    for gpu in deployment.gpus:
        group = home.get(gpu)
        if group is None:
            return deployment  # on a GPU that is gone
        gpus.append(group[taken.get(group, 0)])
        taken[group] = taken.get(group, 0) + 1
    return replace(deployment, gpus=tuple(gpus))


def _renamed(footprint: Footprint, names: Mapping[str, str]) -> Footprint:
    return Footprint.of_bytes(
        (names.get(share.device, share.device), share.component, share.bytes)
        for share in footprint.shares
    )


def _alike(rig: Rig, first: Device, second: Device) -> bool:
    """Whether swapping the two leaves everything but the free memory as it is."""
    return _kind(first) == _kind(second) and all(
        _way(rig, first, other) == _way(rig, second, other)
        for other in rig.gpus
        if other.id not in (first.id, second.id)
    )


def _kind(gpu: Device) -> tuple[object, ...]:
    return (
        gpu.product, gpu.memory, gpu.bandwidth, gpu.compute, gpu.capability, gpu.host_link,
        gpu.mig, gpu.pool == gpu.id,
    )  # fmt: skip


def _way(rig: Rig, first: Device, second: Device) -> tuple[object, ...] | None:
    try:
        way = rig.interconnect(first.id, second.id)
    except KeyError:
        return None
    return way.kind, way.bandwidth
