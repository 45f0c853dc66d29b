"""Which real models a machine could run that has none yet: the planner's own options. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from server.catalogue import Build, Catalogue, EngineName, Model, Serve
from server.planning.demand import Demand, Wish, demand
from server.planning.options import options
from server.planning.plan import Option
from server.planning.rig import Rig
from server.planning.room import Seat, fits
from server.planning.sizing import COMFORT
from server.planning.worth import lead
from server.store.layout import Missing


@dataclass(frozen=True, slots=True)
class Recommendation:
    model: Model
    build: Build
    bytes_needed: int
    """On all devices together."""
    tokens_per_second: float
    """Predicted for one request."""


def recommend(
    catalogue: Catalogue, rig: Rig, *, engines: Collection[EngineName], cuda: bool
) -> Recommendation | None:
    """What would lead a plan for `rig`, whatever else there is in it; of equals the fastest.

    Only builds that can be pinned and checked are offered: revision and sizes known. None where
    nothing fits that people can read along with. `engines`, `cuda`: see `options`.
    """
    known = _checkable(catalogue)
    wanted = demand(known)
    wishes = {wish.model: wish for wish in wanted.wishes}

    def worth(option: Option) -> tuple[int, float, str]:
        wish = wishes[option.deployment.model]
        return lead(option, wish), -option.token_seconds, option.deployment.key

    found = _alone(known, wanted, rig, engines, cuda=cuda)
    best = max(found, key=worth, default=None)
    if best is None:
        return None
    model, build = known.resolve(best.deployment.build)
    assert build is not None
    return Recommendation(model, build, best.footprint.total, best.speed.decode)


def runnable(
    catalogue: Catalogue, rig: Rig, *, engines: Collection[EngineName], cuda: bool
) -> Callable[[Model, Build], bool]:
    """Whether `rig` can hold a build with a comfortable context, in any way.

    A build of unknown size is not known to fit. How fast it would be is not asked.
    """

    def runs(model: Model, build: Build) -> bool:
        if build.bytes is None:
            return False
        wish = Wish(
            model=model.id,
            build=build.id,
            weight=1.0,
            context=min(COMFORT, model.context),
            slots=1,
            speed=0.0,
            pin=False,
            ttl=None,
            engines=(build.engine,),
        )
        wanted = Demand((wish,), auto=True)
        return any(True for _ in _alone(catalogue, wanted, rig, engines, cuda=cuda))

    return runs


def _alone(
    catalogue: Catalogue,
    wanted: Demand,
    rig: Rig,
    engines: Collection[EngineName],
    *,
    cuda: bool,
) -> Iterator[Option]:
    """The options that fit if nothing else runs."""
    found, _ = options(
        catalogue, wanted, rig, lambda build: Missing(build, None, ()),
        held_only=False, engines=engines, cuda=cuda,
    )  # fmt: skip
    wishes = {wish.model: wish for wish in wanted.wishes}
    for option in found:
        if fits([Seat(wishes[option.deployment.model], 1.0, option, "resident")], rig):
            yield option


def _checkable(catalogue: Catalogue) -> Catalogue:
    """The measured models with the builds of known revision and size, and no wishes."""
    models = {}
    for name, model in catalogue.models.items():
        builds = tuple(b for b in model.builds if b.bytes is not None and b.revision is not None)
        if builds and model.scores:
            models[name] = replace(model, builds=builds)
    return replace(catalogue, models=models, serve=Serve())
