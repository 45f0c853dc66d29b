"""From flags to a draft: what there is, the plan for it, and how its engines would be launched."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from server.catalogue import Build, Catalogue
from server.cli import admin
from server.cli.plan.draft import Command, Draft
from server.cli.plan.steps import steps
from server.engines.binary import Binary, built_program
from server.engines.inventory import Inventory, inventory
from server.engines.launching import Programs, launch_of
from server.engines.naming import file_stem
from server.engines.survey import survey
from server.engines.vllm_binary import Interpreter, built_interpreter
from server.errors import EngineError, StoreError
from server.hardware.imagined import imagined
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.explanation import explain
from server.planning.placement import place
from server.planning.plan import Plan
from server.planning.rig import rig
from server.planning.sizing import threads
from server.settings import Settings
from server.store.layout import Installed, locate
from server.units import format_bytes

HERE = "this machine"
_UNKNOWN_REVISION = "REVISION"
_UNKNOWN_FILE = "WEIGHTS.gguf"


def elsewhere(catalogue: Catalogue, settings: Settings, hardware: str) -> Inventory:
    """Hardware that is not here, with both engines set up as they would be. Raises ConfigError."""
    usable = rig(imagined(hardware))
    prefix = Path(sys.prefix)
    return Inventory(
        rig=usable,
        programs=Programs(
            Binary(built_program(prefix), "", "built"),
            Interpreter(built_interpreter(prefix), "", cpu=not usable.gpus, source="set-up"),
        ),
        cuda=True,
        builds={
            build.name: locate(build, settings)
            for model in catalogue.models.values()
            for build in model.builds
        },
    )


def here(catalogue: Catalogue, settings: Settings) -> tuple[Inventory, tuple[Deployment, ...]]:
    """This machine as it is now, and what the Holdfast of this home runs on it, if one does; what
    its engines hold counts as free."""
    engines = [engine for engine in _engines(settings) if engine["pid"]]
    pids = [engine["pid"] for engine in engines]
    running = tuple(Deployment.from_dict(engine["deployment"]) for engine in engines)
    return inventory(catalogue, settings, survey(settings.home, pids)), running


def _engines(settings: Settings) -> list[dict[str, Any]]:
    """As `holdfast ps` tells them; none where no Holdfast answers."""
    try:
        found: list[dict[str, Any]] = orjson.loads(admin.get(settings.admin_socket, "/admin/ps"))[
            "engines"
        ]
    except EngineError:
        return []
    return found


def drafted(
    catalogue: Catalogue,
    settings: Settings,
    demand: Demand,
    found: Inventory,
    *,
    subject: str,
    command: str,
    held_only: bool,
    running: Sequence[Deployment] = (),
) -> Draft:
    """The plan for `demand` on what was found; `command` makes it again. What is `running` stays
    as it is where nothing is lost by that.

    Raises ConfigError for a demand that contradicts itself, and DoesNotFit where something that
    must be served cannot be.
    """
    options, rejections = found.options(catalogue, demand, held_only=held_only, running=running)
    plan = place(options, demand, found.rig, running=running, rejections=rejections)
    preload = frozenset(catalogue.serve.preload)
    draft = Draft(subject, command, found.rig, demand, plan, options, preload=preload)
    return replace(draft, commands=tuple(_commands(draft, catalogue, settings, found)))


def drafted_here(
    catalogue: Catalogue,
    settings: Settings,
    demand: Demand,
    found: Inventory,
    *,
    running: Sequence[Deployment],
    command: str,
    held_only: bool,
) -> Draft:
    """The same for this machine, with what to do next.

    Raises EngineMissing where no engine can be used, or not the one that a demanded model needs;
    and StoreError where no build of one is in the store, and only those count.
    """
    found.check_engines(catalogue, demand)

    def made(held_only: bool) -> Draft:
        return drafted(
            catalogue, settings, demand, found,
            subject=HERE, command=command, held_only=held_only, running=running,
        )  # fmt: skip

    draft = whole = made(held_only=False)
    if held_only:
        held = {one.build.model for one in found.held}
        _check_held(demand, whole.plan, held)
        draft = made(held_only=True)
        draft = replace(draft, unheld=frozenset(w.model for w in demand.wishes) - held)
    return replace(draft, here=True, steps=steps(draft, whole, found.absent, running))


def explained(draft: Draft) -> Draft:
    """The draft with the next best plan, and with what would make this one better."""
    return replace(draft, plan=explain(draft.plan, draft.options, draft.demand, draft.rig))


def _check_held(demand: Demand, whole: Plan, held: Collection[str]) -> None:
    """`whole`: the plan with all builds, which says which one would be the best to fetch."""
    if demand.auto or all(wish.model in held for wish in demand.wishes):
        return
    absent = [wish.name for wish in demand.wishes if wish.model not in held]
    fetched = [a.option for a in whole.assignments if not a.option.held]
    size = format_bytes(sum(option.weights_bytes for option in fetched))
    pull = f"holdfast pull {' '.join(option.deployment.build for option in fetched)}"
    raise StoreError(
        f"no build of {' or of '.join(absent)} is in the store",
        next_step=f"`{pull}` fetches what suits this machine best ({size}); "
        "with --all-builds it is planned as if it were here",
    )


def _commands(
    draft: Draft, catalogue: Catalogue, settings: Settings, found: Inventory
) -> Iterator[Command]:
    for assignment in draft.ordered:
        deployment = assignment.option.deployment
        model, build = catalogue.resolve(deployment.build)
        assert build is not None
        looked = found.look(build)
        files = looked if isinstance(looked, Installed) else expected(build, settings)
        program = launch_of(
            deployment,
            files,
            model.architecture,
            found.programs,
            socket=settings.run / f"{file_stem(build.name)}.sock",
            threads=threads(files.bytes or assignment.option.weights_bytes, found.rig.cores),
            sleeps=True,
        )
        yield Command(build.name, _set(program.environment({})), tuple(program.argv()))


def _set(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What an engine is given beside what it takes over from Holdfast's environment."""
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}


def expected(build: Build, settings: Settings) -> Installed:
    """Where the files of a build will lie once it is pulled.

    Names that nobody told yet are in capitals; sizes are 0, since nothing is there.
    """
    if build.path is not None:
        folder = build.path.parent if build.format == "gguf" else build.path
    else:
        home = settings.models / PurePosixPath(build.repository or build.name)
        folder = home / (build.revision or _UNKNOWN_REVISION)
    files = tuple(folder / PurePosixPath(file.path) for file in build.files)
    if build.format == "gguf":
        files = files or (build.path or folder / _UNKNOWN_FILE,)
    return Installed(
        build=build,
        files=files,
        main=files[0] if build.format == "gguf" else folder,
        mmproj=folder / PurePosixPath(build.mmproj.path) if build.mmproj else None,
        bytes=0,
        mmproj_bytes=0,
    )
