"""Which GPUs of a rig are interchangeable: moving a deployment among them changes nothing.

A plan need only say how many of each kind an option takes; which ones is found in one go for all.
Whose ranks share each layer needs GPUs that are joined alike; all others need GPUs of a kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from server.planning.deployment import Deployment
from server.planning.device import Device
from server.planning.footprint.component import Footprint
from server.planning.plan import Option
from server.planning.rig import Rig

Group = tuple[str, ...]
"""Ids of interchangeable GPUs, in the rig's order."""


@dataclass(frozen=True, slots=True)
class Need:
    """So many GPUs of a group, and so many MiB on each of them."""

    group: Group
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Alike:
    """The GPUs of a rig, each in one group. How much of a GPU is free may differ within a group."""

    by_kind: tuple[Group, ...]
    by_link: tuple[Group, ...]
    """Of these groups those that have the same ways to all others."""

    def groups(self, tensor_parallel: int) -> tuple[Group, ...]:
        """The groups within which a deployment of so many ranks may be moved. Between the stages
        of a pipeline little is sent, and a constant stands for it (planning/efficiency.py)."""
        return self.by_link if tensor_parallel > 1 else self.by_kind

    def of(self, deployment: Deployment) -> tuple[Group, ...]:
        return self.groups(deployment.tensor_parallel)


def alike(rig: Rig) -> Alike:
    by_kind: list[list[Device]] = []
    by_link: list[list[Device]] = []
    for gpu in rig.gpus:
        _sort_in(gpu, [group for group in by_kind if _kind(group[0]) == _kind(gpu)], by_kind)
        _sort_in(gpu, [group for group in by_link if _joined_alike(rig, group[0], gpu)], by_link)
    kinds, links = (
        tuple(tuple(gpu.id for gpu in group) for group in found) for found in (by_kind, by_link)
    )
    return Alike(kinds, links)


def _sort_in(gpu: Device, homes: Sequence[list[Device]], found: list[list[Device]]) -> None:
    if homes:
        homes[0].append(gpu)
    else:
        found.append([gpu])


def within(mine: Iterable[Need], theirs: Sequence[Need]) -> bool:
    """Whether what takes `mine` can stand wherever something stands that takes `theirs`."""
    for need in mine:
        room = sum(
            other.count
            for other in theirs
            if other.size >= need.size and _is_part(other.group, need.group)
        )
        if room < need.count:
            return False
    return True


@lru_cache(maxsize=1024)
def _is_part(other: Group, group: Group) -> bool:
    return set(other) <= set(group)


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
    for group in alike(rig).by_link:
        for room in {free.get(gpu) for gpu in group}:
            equal = [gpu for gpu in group if free.get(gpu) == room]
            names |= zip((gpu for gpu in met if gpu in equal), equal, strict=False)
    return tuple(moved(o, [names[gpu] for gpu in o.deployment.gpus]) for o in options)


def canonical(deployment: Deployment, at: Alike) -> Deployment:
    """`deployment` on the first GPUs of each group that it uses: equal for all it can move to."""
    home = {gpu: group for group in at.of(deployment) for gpu in group}
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


def _joined_alike(rig: Rig, first: Device, second: Device) -> bool:
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
