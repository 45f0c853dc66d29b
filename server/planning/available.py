"""Which builds could be launched for a demand, and which are beaten before it comes to memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from server.catalogue import Build, Catalogue, EngineName, Model
from server.planning.demand import Demand, Wish
from server.planning.parameters import active_share
from server.planning.plan import Rejection
from server.planning.quality import SOUND, capability
from server.planning.sketch import Available
from server.planning.weights import WeightMap, from_catalogue
from server.planning.worth import points
from server.store.layout import Installed, Missing
from server.units import format_bytes

Look: TypeAlias = Callable[[Build], Installed | Missing]
"""What of a build is on disk."""

INSTALL: Mapping[EngineName, str] = {
    "llama-server": "scripts/setup",
    "vllm": "scripts/setup --vllm",
}
"""What installs an engine."""


def available(
    catalogue: Catalogue,
    demand: Demand,
    look: Look,
    *,
    held_only: bool,
    engines: Collection[EngineName],
    exact: Mapping[str, WeightMap],
) -> tuple[list[Available], list[Rejection]]:
    """The builds of the demanded models that an installed engine could run, each once.

    `held_only`: only those in the store. `exact`: weights by build as their files' headers tell.
    """
    found: dict[str, Available] = {}
    rejections: dict[str, Rejection] = {}
    for wish in demand.wishes:
        model = catalogue.models[wish.model]
        for build in model.builds:
            if wish.build not in (None, build.id) or build.engine not in wish.engines:
                continue
            looked = look(build)
            rejection = _unusable(build, looked, held_only=held_only, engines=engines)
            if rejection is not None:
                rejections[build.name] = rejection
            else:
                found[build.name] = _available(model, build, looked, exact.get(build.name))
    return list(found.values()), list(rejections.values())


def _unusable(
    build: Build, looked: Installed | Missing, *, held_only: bool, engines: Collection[EngineName]
) -> Rejection | None:
    if build.engine not in engines:
        reason = f"{build.engine} is not installed: `{INSTALL[build.engine]}` installs it"
        return Rejection(build.name, reason, "not installed", build.engine)
    if held_only and isinstance(looked, Missing):
        size = build.weights_bytes
        told = format_bytes(size) if size is not None else "its size is not known yet"
        reason = f"it is not in the store: `holdfast pull {build.name}` fetches it ({told})"
        return Rejection(build.name, reason, "not in the store", build.engine)
    return None


def _available(
    model: Model, build: Build, looked: Installed | Missing, exact: WeightMap | None
) -> Available:
    weights = exact or from_catalogue(model, build)
    held = isinstance(looked, Installed)
    size = build.weights_bytes
    if isinstance(looked, Installed):
        size = looked.bytes + looked.mmproj_bytes
    return Available(
        model, build, weights, held, bytes=size or weights.total, estimated=size is None
    )


def beaten(builds: Sequence[Available], demand: Demand) -> tuple[list[Available], list[Rejection]]:
    """The builds that no other beats in everything, and by what the rest is beaten."""
    named = {wish.name for wish in demand.wishes if wish.build is not None}
    left, rejections = [], []
    for a in builds:
        reason = None
        if a.build.name not in named:
            reason = _by_sibling(a, builds) or (_by_other(a, builds) if demand.auto else None)
        if reason is None:
            left.append(a)
        else:
            rejections.append(Rejection(a.build.name, reason, "beaten", a.build.engine))
    return left, rejections


def wanted(builds: Sequence[Available], wish: Wish) -> Iterator[Available]:
    for a in builds:
        if (
            a.model.id == wish.model
            and wish.build in (None, a.build.id)
            and a.build.engine in wish.engines
        ):
            yield a


def _by_sibling(a: Available, builds: Sequence[Available]) -> str | None:
    """A build of the same model for the same engine that keeps as much in no more bytes."""
    for b in builds:
        if (
            b is not a
            and b.model.id == a.model.id
            and b.build.engine == a.build.engine
            and b.held >= a.held
            and bool(b.weights.vision) >= bool(a.weights.vision)
            and bool(b.weights.mtp) >= bool(a.weights.mtp)
            and (b.retention, -b.bytes, a.build.name) > (a.retention, -a.bytes, b.build.name)
            and b.retention >= a.retention
            and b.bytes <= a.bytes
        ):
            return (
                f"{b.build.name} keeps as much of the model ({b.retention:.1%} against "
                f"{a.retention:.1%}) in {format_bytes(b.bytes)} instead of {format_bytes(a.bytes)}"
            )
    return None


def _by_other(a: Available, builds: Sequence[Available]) -> str | None:
    """A smaller build of another model that is more capable: then so few bits are no advice. A
    build of four bits and more must be beaten in what it reads for each token, too."""
    mine = points(capability(a.model), a.retention)
    for b in builds:
        if b.model.id == a.model.id or b.bytes > a.bytes or b.retention < SOUND:
            continue
        theirs = points(capability(b.model), b.retention)
        if theirs < mine:
            continue
        if a.retention < SOUND or _read(b) <= _read(a):
            return (
                f"{b.build.name} is as capable ({theirs / 10:.1f} points against "
                f"{mine / 10:.1f}) in {format_bytes(b.bytes)} instead of {format_bytes(a.bytes)}"
            )
    return None


def _read(a: Available) -> float:
    """Bytes for one token."""
    return a.bytes * active_share(a.model.architecture)
