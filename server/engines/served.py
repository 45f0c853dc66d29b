"""What `holdfast serve` runs: the family as it is planned for this machine, else the demo. Pure,
over an inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from server.catalogue import Catalogue
from server.engines.berth import Berth, berths, by_pool
from server.engines.inventory import Inventory
from server.engines.yard import Replan
from server.errors import EngineMissing, StoreError
from server.planning.demand import DEMO, Demand, Wish, demand, table_of
from server.planning.deployment import Deployment
from server.planning.footprint import footprint
from server.planning.placement import place
from server.planning.plan import Plan
from server.planning.rig import Rig
from server.store.layout import Installed, Missing

_DEMO_SLOTS = 4
_PATIENCE = (1.0, 0.5, 0.25, 0.0)
"""Parts of the speed floor that are tried in turn: who pulled a model for a machine that is too
slow for it still wants it served."""


@dataclass(frozen=True, slots=True)
class Served:
    berths: tuple[Berth, ...]
    capacity: Mapping[str, int]
    """Bytes that engines may take, by memory pool."""
    rig: Rig
    plan: Plan | None
    """None: the demo, for which nothing is to be weighed."""
    reason: str
    """Why these, in words for people."""


def served(
    catalogue: Catalogue,
    found: Inventory,
    *,
    demo: bool = False,
    running: tuple[Deployment, ...] = (),
) -> Served:
    """What `[serve]` asks for, in the best plan; without a wish, the best of what the store holds;
    with nothing held, or with `demo`, the embedded demo. What is `running` stays where it is where
    nothing is lost by that.

    Raises ModelNotFound for an unknown name, StoreError for weights that are not in the store,
    EngineMissing, ConfigError for wishes that contradict each other, and DoesNotFit with the bytes
    needed and free.
    """
    if demo:
        return _demo(catalogue, found, "the demo was asked for")
    if catalogue.serve.models == (DEMO,):
        return _demo(catalogue, found, "asked for by name")
    wanted = demand(catalogue)
    held = sorted({one.build.name for one in found.held if one.build.model != DEMO})
    if wanted.auto and not held:
        return _demo(catalogue, found, "the store holds no weights")
    for wish in () if wanted.auto else wanted.wishes:
        _check_held(catalogue, found, wish)
    found.check_engines(catalogue, wanted)
    plan = _planned(catalogue, wanted, found, running)
    if not plan.assignments:
        names = ", ".join(held)
        return _demo(catalogue, found, f"none of the builds in the store fits: {names}")
    reason = "the best of what the store holds" if wanted.auto else "asked for by name"
    return Served(_berths(plan, found.rig, catalogue), found.rig.pools(), found.rig, plan, reason)


def replanning(catalogue: Catalogue, found: Inventory) -> Replan:
    """What plans anew when the devices change: the same wishes and builds, and what runs stays
    where nothing is lost by that. Raises what `served` does."""

    def replan(rig: Rig, running: tuple[Deployment, ...]) -> tuple[Berth, ...]:
        plan = _planned(catalogue, demand(catalogue), replace(found, rig=rig), running)
        return _berths(plan, rig, catalogue)

    return replan


def _planned(
    catalogue: Catalogue, wanted: Demand, found: Inventory, running: tuple[Deployment, ...] = ()
) -> Plan:
    for part in _PATIENCE if wanted.auto else _PATIENCE[:1]:
        wishes = tuple(replace(wish, speed=wish.speed * part) for wish in wanted.wishes)
        asked = replace(wanted, wishes=wishes)
        options, rejections = found.options(catalogue, asked, held_only=True, running=running)
        plan = place(options, asked, found.rig, running=running, rejections=rejections)
        if plan.assignments:
            break
    return plan


def _berths(plan: Plan, rig: Rig, catalogue: Catalogue) -> tuple[Berth, ...]:
    return berths(plan, rig, frozenset(catalogue.serve.preload))


def _check_held(catalogue: Catalogue, found: Inventory, wish: Wish) -> None:
    builds = catalogue.models[wish.model].builds
    looks = [found.look(build) for build in builds if wish.build in (None, build.id)]
    if any(isinstance(one, Installed) for one in looks):
        return
    if len(looks) == 1 and isinstance(only := looks[0], Missing):
        raise only.error()
    raise StoreError(
        f"no build of {wish.model} is in the store",
        next_step=f"`holdfast pull {wish.model}` fetches one; `holdfast plan --all-builds --models "
        f"{wish.model}` tells which suits this machine best",
    )


def _demo(catalogue: Catalogue, found: Inventory, reason: str) -> Served:
    """The demo in llama-server: on the first GPU, so that it shows whether that works, else on the
    CPU. It is so small that it is not asked whether it fits."""
    model = catalogue.models[DEMO]
    build = next(build for build in model.builds if build.engine == "llama-server")
    looked = found.look(build)
    if isinstance(looked, Missing):
        raise looked.error()
    if found.programs.llama_server is None:
        raise found.absent.get("llama-server") or EngineMissing("there is no llama-server")
    rig, serve = found.rig, catalogue.serve
    deployment = Deployment(
        model=DEMO,
        build=build.name,
        engine="llama-server",
        gpus=tuple(gpu.id for gpu in rig.gpus[:1]) if found.cuda else (),
        context=min(serve.context or model.context, model.context),
        slots=serve.slots or _DEMO_SLOTS,
        vision=False,
        embeddings=table_of(serve, DEMO).embeddings,
    )
    needs = by_pool(footprint(deployment, model.architecture, found.exact[build.name]), rig)
    berth = Berth(build.name, deployment, needs)
    capacity = {pool: max(free, needs.get(pool, 0)) for pool, free in rig.pools().items()}
    return Served((berth,), capacity, rig, None, reason)
