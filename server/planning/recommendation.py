"""Which real model to get for a machine that has none yet.

A first answer for someone who looks at the demo, not a plan: one model, one build, the best that
this machine holds at a speed that people can read along with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.catalogue import Build, Catalogue, Model
from server.planning.demand import READABLE
from server.planning.deployment import Deployment
from server.planning.footprint import RAM, footprint
from server.planning.parameters import active_share
from server.planning.places import Place
from server.planning.quality import capability
from server.planning.sizing import reserve
from server.planning.weights import from_catalogue
from server.store.pull.selection import PREFERRED

CONTEXT = 32_768
SLOTS = 1


@dataclass(frozen=True, slots=True)
class Recommendation:
    model: Model
    build: Build
    bytes_needed: int
    """With a context of CONTEXT tokens."""
    tokens_per_second: float
    """Estimated for one request: a memory's bandwidth over the bytes read for each token."""


def recommend(catalogue: Catalogue, place: Place) -> Recommendation | None:
    """The most capable build that `place` holds and runs at a READABLE speed.

    Only builds that can be pinned and checked are offered: revision and sizes known. None where
    nothing fits.
    """
    fitting = [
        candidate
        for model in catalogue.models.values()
        if model.scores and (candidate := _candidate(model, place)) is not None
    ]
    return max(fitting, key=lambda found: capability(found.model), default=None)


def runs(model: Model, build: Build, places: Sequence[Place]) -> bool:
    """Whether llama-server can hold the build in one of `places`, with a context of CONTEXT tokens.

    A build of unknown size is not known to fit. How fast it would be is not asked.
    """
    if build.engine != "llama-server" or build.bytes is None:
        return False
    return any(_needed(model, build, place) <= place.memory for place in places)


def _candidate(model: Model, place: Place) -> Recommendation | None:
    for quant in PREFERRED:
        for build in model.builds:
            if build.quant != quant or build.engine != "llama-server":
                continue
            if build.bytes is None or build.revision is None:
                continue
            needed = _needed(model, build, place)
            speed = place.bandwidth / (build.bytes * active_share(model.architecture))
            if needed <= place.memory and speed >= READABLE:
                return Recommendation(model, build, needed, speed)
    return None


def _needed(model: Model, build: Build, place: Place) -> int:
    """Bytes in the place, the reserve included."""
    deployment = Deployment(
        model=model.id,
        build=build.name,
        engine="llama-server",
        gpus=(place.gpu,) if place.gpu else (),
        context=min(CONTEXT, model.context),
        slots=SLOTS,
    )
    weights = from_catalogue(model, build)
    predicted = footprint(deployment, model.architecture, weights)
    return predicted.on(place.gpu or RAM) + reserve(place.memory)
