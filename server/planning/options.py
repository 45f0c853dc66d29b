"""Every way to serve what is wanted that can be the best one; and what was turned down, and why.

Builds that cannot be launched go first, then those that another build of the model, or under
`auto` another model, beats in everything. Of the shapes and sizes of the rest those are kept that
fit, are fast enough, and are not dominated. More memory only ever adds options.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from server.catalogue import Catalogue, EngineName
from server.planning.alike import alike
from server.planning.available import Look, available, beaten, wanted
from server.planning.calibration import NONE, Corrections
from server.planning.contradiction import check
from server.planning.demand import Demand, Wish
from server.planning.deployment import WHOLE, Deployment
from server.planning.footprint import Footprint, footprint
from server.planning.footprint.component import RAM
from server.planning.measured import NOTHING_MEASURED, Measured
from server.planning.plan import Option, Rejection
from server.planning.quality import SOUND, cache_retention, capability
from server.planning.reasons import pool_name
from server.planning.rig import RAM_ID, Rig
from server.planning.shape import Shape, quantized_cache, shapes
from server.planning.sketch import Available, Ground, Size, Sketch, Sketchbook, sizes
from server.planning.speed import Speed, speed
from server.planning.weights import WeightMap
from server.planning.worth import TYPICAL_CONTEXT, must_fit, seconds_per_token
from server.units import MIB, format_bytes

_START: Mapping[EngineName, float] = {"llama-server": 2.0, "vllm": 45.0}
"""Seconds until an engine is ready, beside reading its weights: vLLM imports PyTorch, compiles and
captures graphs."""
_ALIKE = 0.05
"""Of two options, the larger is dropped where it gains less than this part of the seconds for a
token: nobody notices, and the solver has half the choices."""


def options(
    catalogue: Catalogue,
    demand: Demand,
    rig: Rig,
    look: Look,
    *,
    held_only: bool,
    engines: Collection[EngineName],
    cuda: bool,
    exact: Mapping[str, WeightMap] | None = None,
    running: Sequence[Deployment] = (),
    corrections: Corrections = NONE,
    measured: Measured = NOTHING_MEASURED,
) -> tuple[tuple[Option, ...], tuple[Rejection, ...]]:
    """The options for `demand` on `rig`, and the builds that have none.

    `held_only`: plan with what is in the store only, as for serving; else with all builds that the
    catalogue names, as for a machine that one does not have. `engines`: those installed. `cuda`:
    whether llama-server can use NVIDIA GPUs. `exact`: weights by build, as read from the files'
    headers. `running`: deployments that stay options as they are.

    Raises ConfigError for a demand that contradicts itself.
    """
    check(catalogue, demand)
    usable, unusable = available(
        catalogue, demand, look, held_only=held_only, engines=engines, exact=exact or {}
    )
    builds, worse = beaten(usable, demand)
    ground = Ground(rig, alike(rig), corrections, measured)
    found: dict[str, Option] = {}
    unfit: dict[str, Rejection] = {}
    for wish in demand.wishes:
        must = must_fit(wish, demand)
        for result in _for_wish(wish, list(wanted(builds, wish)), ground, cuda=cuda, must=must):
            if isinstance(result, Rejection):
                unfit[result.name] = result
            else:
                found[result.deployment.key] = result
    by_name = {a.build.name: a for a in usable}
    for deployment in running:
        if (a := by_name.get(deployment.build)) and _is_there(deployment, rig):
            found.setdefault(deployment.key, _as_it_runs(a, deployment, ground))
    ordered = tuple(found[key] for key in sorted(found))
    return ordered, (*unusable, *worse, *unfit.values())


def _is_there(deployment: Deployment, rig: Rig) -> bool:
    return set(deployment.gpus) <= {gpu.id for gpu in rig.gpus}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of the sketches of one build: `best` are those that can be used."""

    usable: tuple[Sketch, ...]
    rejection: Rejection | None


def _for_wish(
    wish: Wish, builds: Sequence[Available], ground: Ground, *, cuda: bool, must: bool
) -> Iterator[Option | Rejection]:
    """`must`: so much context has to be served, so that a quantized KV cache is an option."""
    if not builds:
        return
    reference: dict[str, Available] = {}
    for a in sorted(builds, key=lambda a: (a.retention < SOUND, a.bytes)):
        reference.setdefault(a.build.engine, a)
    book = Sketchbook(ground, wish, reference)
    usable: list[Sketch] = []
    for a in builds:
        outcome = _sketched(wish, a, book, ground, cuda=cuda, must=must)
        usable += outcome.usable
        if outcome.rejection is not None:
            yield outcome.rejection
    for sketch in undominated(usable):
        a, shape, size = sketch.available, sketch.shape, sketch.size
        d = shape.deployment(a.build, size.context, size.slots, vision=size.vision)
        yield _option(a, d, ground, partial(ground.speed, a, shape, slots=size.slots))


def _sketched(
    wish: Wish, a: Available, book: Sketchbook, ground: Ground, *, cuda: bool, must: bool
) -> _Outcome:
    wanted_sizes = sizes(wish, a.model, images=bool(a.weights.vision))
    usable: list[Sketch] = []
    slow: Sketch | None = None
    large: Sketch | None = None
    for found in shapes(
        a.model.architecture, a.build, a.weights.total, ground.rig, ground.alike, cuda=cuda
    ):
        shape = replace(found, embeddings=True) if wish.embeddings else found
        for sketch in _drawn(a, shape, book, ground.rig, wanted_sizes, must=must):
            short = sketch.short(ground.rig)
            if sketch.decode < wish.speed:
                slow = sketch if slow is None or sketch.decode > slow.decode else slow
            elif not short:
                usable.append(sketch)
            elif large is None or sum(short.values()) < sum(large.short(ground.rig).values()):
                large = sketch
    if usable:
        return _Outcome(tuple(usable), None)
    return _Outcome((), _rejection(wish, a, slow, large, ground.rig))


def _drawn(
    a: Available,
    shape: Shape,
    book: Sketchbook,
    rig: Rig,
    wanted_sizes: Sequence[Size],
    *,
    must: bool,
) -> Iterator[Sketch]:
    """The build in the shape at each size, and drafting as many tokens as help it most.

    With a quantized KV cache only at the least that is asked for, where that is more than least of
    all: it is chosen only where nothing else meets that (planning/room.py, `fidelity`).
    """
    ahead = book.drafts(a, shape)
    least = [size for size in wanted_sizes if size == replace(wanted_sizes[0], vision=size.vision)]
    for one in [shape, replace(shape, draft_tokens=ahead)] if ahead else [shape]:
        yield from book.draw(a, one, wanted_sizes)
        if must and (smaller := quantized_cache(one, rig)) is not None:
            yield from book.draw(a, replace(one, kv_type=smaller), least)


def _rejection(
    wish: Wish, a: Available, slow: Sketch | None, large: Sketch | None, rig: Rig
) -> Rejection:
    if large is None and slow is not None:
        where = " and ".join(pool_name(gpu, rig) for gpu in slow.shape.gpus) or "the CPU"
        return Rejection(
            a.build.name,
            f"too slow: {slow.decode:.1f} tokens/s at best, on {where}, and "
            f"{wish.speed:g} are asked for",
            "slow",
            a.build.engine,
            decode=slow.decode,
        )
    if large is None:
        reason = "no GPU here can run it with its engine"
        return Rejection(a.build.name, reason, "unsuited", a.build.engine)
    missing = {pool: count * MIB for pool, count in large.short(rig).items()}
    free = rig.pools()
    told = " and ".join(
        f"{format_bytes(free[pool] + size)} "
        f"{'of RAM' if pool == RAM_ID else f'on {pool_name(pool, rig)}'}, "
        f"{format_bytes(size)} more than are free"
        for pool, size in missing.items()
    )
    size = f"{large.size.slots} x {large.size.context} tokens of context"
    if large.shape.kv_type not in WHOLE:
        size += f", its KV cache in {large.shape.kv_type},"
    reason = f"too large: with {size} it needs {told}"
    return Rejection(a.build.name, reason, "large", a.build.engine, missing)


def undominated(sketches: Sequence[Sketch]) -> list[Sketch]:
    """Without those that another one beats: as good in everything, and no larger anywhere.

    The smallest are looked at first, so that what is kept of those that fit does not depend on how
    much memory there is.
    """

    def key(s: Sketch) -> tuple[int, float, str]:
        taken = s.ram + sum(need.count * need.size for need in s.needs)
        return taken, s.merit[2], s.available.build.name

    kept: list[Sketch] = []
    beaten_by: list[Sketch] = []  # `kept`, with what beat something last at first
    for sketch in sorted(sketches, key=key):
        for at, other in enumerate(beaten_by):
            if other.dominates(sketch, _ALIKE):
                beaten_by.insert(0, beaten_by.pop(at))
                break
        else:
            kept.append(sketch)
            beaten_by.append(sketch)
    return kept


def _as_it_runs(a: Available, deployment: Deployment, ground: Ground) -> Option:
    """The option that a running deployment is, whatever its flags are."""

    def speed_at(context: int) -> Speed:
        there = replace(deployment, context=context)
        return speed(there, a.model.architecture, a.weights, ground.rig, ground.measured)

    return _option(a, deployment, ground, speed_at)


def _option(
    a: Available, deployment: Deployment, ground: Ground, speed_at: Callable[[int], Speed]
) -> Option:
    """The option with its figures in full. `speed_at`: with so many tokens of context."""
    taken = footprint(deployment, a.model.architecture, a.weights, ground.corrections)
    retained = a.retention * cache_retention(deployment.kv_type)
    return Option(
        deployment=deployment,
        footprint=taken,
        speed=speed_at(deployment.context),
        weights_bytes=a.bytes,
        load_seconds=a.bytes / ground.rig.disk_speed + _START[deployment.engine],
        held=a.held,
        capability=capability(a.model),
        retention=retained,
        token_seconds=seconds_per_token(
            speed_at(TYPICAL_CONTEXT),
            deployment.context,
            deployment.slots,
            vision=deployment.vision,
            retention=retained,
        ),
        asleep=_asleep(taken) if deployment.engine == "vllm" and deployment.gpus else None,
        estimated=a.estimated,
    )


def _asleep(awake: Footprint) -> Footprint:
    """vLLM's sleep level 1: weights go to RAM, caches are given up, graphs and context stay."""
    weights = sum(awake.of(component) for component in ("weights", "vision", "mtp"))
    stays = [
        (share.device, share.component, share.bytes)
        for share in awake.shares
        if share.component in ("context", "graphs", "process")
    ]
    return Footprint.of_bytes([*stays, (RAM, "weights", weights)])
