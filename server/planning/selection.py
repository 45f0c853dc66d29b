"""What `holdfast serve` serves: the models asked for, else the best in the store, else the demo.

Pure. Each model goes whole into the first place that holds it, in the memory that those before it
leave there; the family is not yet planned together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from server.catalogue import Build, Catalogue, Model
from server.errors import DoesNotFit, EngineError, StoreError
from server.planning.demand import DEMO
from server.planning.places import Place
from server.planning.sizing import Sizing, choose_context_slots, reserve
from server.store.layout import Installed, Missing
from server.units import format_bytes

Look: TypeAlias = Callable[[Build], Installed | Missing]
"""What of a build is on disk."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A build that is to be served, and how."""

    model: Model
    build: Build
    installed: Installed
    sizing: Sizing
    place: Place


@dataclass(frozen=True, slots=True)
class Selection:
    picks: tuple[Pick, ...]
    reason: str
    """Why these, in words for people."""


def select(
    catalogue: Catalogue, look: Look, places: Sequence[Place], *, demo: bool = False
) -> Selection:
    """Choose what to serve in `places`, of which the first that holds a model is taken for it.

    `[serve]` models are all served, or it is an error; without any, the most capable build that is
    on disk and fits is; with none on disk, or with `demo`, the embedded demo.

    Raises ModelNotFound for an unknown name, StoreError for weights that are not on disk,
    DoesNotFit with the bytes needed and free, EngineError for a build that needs another engine.
    """
    if demo:
        return Selection(_named(catalogue, [DEMO], look, places), "the demo was asked for")
    if catalogue.serve.models:
        picks = _named(catalogue, catalogue.serve.models, look, places)
        return Selection(picks, "asked for by name")
    held = _held(catalogue, look)
    for model, installed in held:
        pick = _place(catalogue, model, installed, places)
        if isinstance(pick, Pick):
            return Selection((pick,), "the most capable build in the store that fits")
    picks = _named(catalogue, [DEMO], look, places)
    if held:
        names = ", ".join(installed.build.name for _, installed in held)
        return Selection(picks, f"none of the builds in the store fits: {names}")
    return Selection(picks, "the store holds no weights")


def capability(model: Model) -> float:
    """The mean of a model's benchmark scores; 0 for a model without any."""
    return sum(model.scores.values()) / len(model.scores) if model.scores else 0.0


def _named(
    catalogue: Catalogue, names: Sequence[str], look: Look, places: Sequence[Place]
) -> tuple[Pick, ...]:
    chosen = []
    for name in names:
        model, build = catalogue.resolve(name)
        chosen.append((model, _installed(model, build, look)))
    least = [_least(catalogue, model, installed) for model, installed in chosen]
    picks: list[Pick] = []
    left = list(places)
    for position, (model, installed) in enumerate(chosen):
        # The last place is everybody's last resort: those that follow need their least of it, too.
        # Where that cannot be had, first come, first served.
        kept = sum(least[position + 1 :])
        pick = _place(catalogue, model, installed, [*left[:-1], left[-1].less(kept)])
        if isinstance(pick, DoesNotFit):
            pick = _place(catalogue, model, installed, left)
        if isinstance(pick, DoesNotFit):
            raise pick
        taken = pick.sizing.footprint.total
        left = [place.less(taken) if place.name == pick.place.name else place for place in left]
        picks.append(pick)
    return tuple(picks)


def _context(catalogue: Catalogue, model: Model) -> int | None:
    """The configured context, at most what the model was trained for."""
    asked = catalogue.serve.context
    return None if asked is None else min(asked, model.context)


def _least(catalogue: Catalogue, model: Model, installed: Installed) -> int:
    """Bytes that a model takes at the very least, the reserve beside it included."""
    sizing = choose_context_slots(
        model.architecture,
        model_context=model.context,
        weights_bytes=installed.bytes,
        mmproj_bytes=installed.mmproj_bytes,
        memory=0,
        context=_context(catalogue, model),
        slots=catalogue.serve.slots,
    )
    return round(sizing.footprint.total * 1.2)


def _place(
    catalogue: Catalogue, model: Model, installed: Installed, places: Sequence[Place]
) -> Pick | DoesNotFit:
    """`installed` in the first of `places` that holds it; else why not even the last does."""
    for place in places:
        sizing = choose_context_slots(
            model.architecture,
            model_context=model.context,
            weights_bytes=installed.bytes,
            mmproj_bytes=installed.mmproj_bytes,
            memory=place.memory,
            context=_context(catalogue, model),
            slots=catalogue.serve.slots,
        )
        if sizing.fits:
            return Pick(model, installed.build, installed, sizing, place)
    needed = sizing.footprint.total + reserve(place.memory)
    return DoesNotFit(
        f"{installed.build.name} does not fit in memory",
        why=f"it needs {format_bytes(needed)} with {sizing.slots} x {sizing.context} tokens of "
        f"context and a reserve, and {format_bytes(max(0, place.memory))} are free on {place.name}",
        next_step="Choose a smaller build or context, or free memory",
    )


def _installed(model: Model, build: Build | None, look: Look) -> Installed:
    """What is on disk of `build`, or of the model's largest build where none is named."""
    if build is not None:
        if build.engine != "llama-server":
            others = ", ".join(b.name for b in model.builds if b.engine == "llama-server")
            raise EngineError(
                f"{build.name} needs {build.engine}, which this version does not run",
                next_step=f"GGUF builds of it: {others or 'none'}",
            )
        found = look(build)
        if isinstance(found, Missing):
            raise found.error()
        return found
    looks = [look(b) for b in model.builds if b.engine == "llama-server"]
    held = [found for found in looks if isinstance(found, Installed)]
    if held:
        return max(held, key=lambda found: found.bytes)
    if len(looks) == 1 and isinstance(only := looks[0], Missing):
        raise only.error()
    raise StoreError(
        f"no build of {model.id} is in the store",
        next_step=f"`holdfast pull {model.id}` fetches one; `holdfast check-config` lists them",
    )


def _held(catalogue: Catalogue, look: Look) -> list[tuple[Model, Installed]]:
    """Every build on disk but the demo's, the most capable model first, its largest build first."""
    held = [
        (model, found)
        for model in catalogue.models.values()
        if model.id != DEMO
        for build in model.builds
        if build.engine == "llama-server" and isinstance(found := look(build), Installed)
    ]
    return sorted(held, key=lambda pair: (capability(pair[0]), pair[1].bytes), reverse=True)
