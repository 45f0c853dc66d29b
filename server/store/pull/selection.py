"""What a pull is about: names and flags -> repositories, and what is wanted of each. Pure.

A name is a model (`qwen3.5-9b`), the end of its id (`9b`), a build (`qwen3.5-9b:q4_k_m`) or a
repository of the hub (`org/name`, `org/name@revision`), which need not be in the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from server.catalogue import Build, Catalogue, Model
from server.errors import ConfigError
from server.store.pull.order import Order

Formats = Literal["safetensors", "gguf", "both"]
Fits = Callable[[Model, Build], bool]
"""Whether this machine runs a build; planning knows."""

PREFERRED = ("UD-Q4_K_XL", "Q4_K_M", "Q8_0")
"""GGUF quantizations in the order in which one is taken where none is asked for: four bits is
where quality per byte is best."""
UNQUANTIZED = "BF16"
_REVISION = re.compile(r"[\w./-]{1,255}", re.ASCII)
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line, as far as it says what to pull."""

    names: tuple[str, ...] = ()
    everything: bool = False
    format: Formats | None = None
    quants: tuple[str, ...] = ()
    """In any case; "all" stands for every one."""
    fits: bool = False
    base: bool = False
    """The checkpoints before post-training, too."""
    mirror: bool = False
    """To keep rather than to serve: unquantized checkpoints, where no flag says otherwise."""


@dataclass(frozen=True, slots=True)
class Selection:
    orders: tuple[Order, ...]
    """In the order asked for, each repository and revision once."""
    passed: tuple[str, ...] = ()
    """Models of the whole family of which no build is what the flags ask for."""
    baseless: tuple[str, ...] = ()
    """Models whose checkpoint before post-training is wanted too, and is not known."""


def select(catalogue: Catalogue, asked: Asked, fits: Fits) -> Selection:
    """What to pull of which repositories.

    Raises ConfigError for a request that names nothing or contradicts itself, ModelNotFound for a
    name that is none.
    """
    if not asked.names and not asked.everything and not asked.fits:
        raise ConfigError(
            "nothing was named to pull",
            next_step="Name models (holdfast pull 9b), or give --fits for what this machine can "
            "run, or --all for the whole family; with --dry-run nothing is fetched",
        )
    if asked.names and asked.everything:
        raise ConfigError("--all and names contradict each other", next_step="Give one of them")
    _check_quants(asked.quants)
    orders: list[Order] = []
    for name in asked.names:
        orders += _repository(catalogue, name, asked) if "/" in name else ()
    builds, passed = _builds(catalogue, asked, fits)
    orders += _orders(catalogue, builds)
    baseless: tuple[str, ...] = ()
    if asked.base:
        bases, baseless = _bases(catalogue, asked)
        orders += bases
    return Selection(tuple(dict.fromkeys(orders)), passed, baseless)


def _builds(catalogue: Catalogue, asked: Asked, fits: Fits) -> tuple[list[Build], tuple[str, ...]]:
    """The builds that models, names and flags come to, and the models that come to none."""
    chosen: list[Build] = []
    passed: list[str] = []
    named = [name for name in asked.names if "/" not in name]
    everything = not asked.names
    for model, build in [
        *((model, None) for model in catalogue.models.values() if everything and _is_real(model)),
        *(found for name in named for found in _named(catalogue, name)),
    ]:
        found = (build,) if build else _choice(model, asked, fits)
        chosen += (one for one in found if one not in chosen)
        if not found:
            passed.append(model.id)
    if passed and not (everything and chosen):
        fitting = " that fits this machine" if asked.fits else ""
        raise ConfigError(
            f"no build of {', '.join(passed)}{fitting} is what was asked for",
            next_step="`holdfast check-config` lists the builds; choose another --format or "
            "--quant, or name a build (qwen3.5-9b:q4_k_m)",
        )
    return chosen, tuple(passed)


def _choice(model: Model, asked: Asked, fits: Fits) -> tuple[Build, ...]:
    """The builds of one model that the flags ask for."""
    pool = [
        build
        for build in model.builds
        if build.repository is not None
        and build.format in _formats(asked)
        and (not asked.fits or fits(model, build))
    ]
    wanted = [quant.upper() for quant in asked.quants]
    if "ALL" in wanted:
        return tuple(pool)
    if wanted:
        return tuple(build for build in pool if build.quant.upper() in wanted)
    plain = [build for build in pool if build.format == "safetensors"]
    quantized = [build for build in pool if build.format == "gguf"]
    checkpoint = [build for build in plain if build.quant == UNQUANTIZED]
    ranked = sorted(
        (build for build in quantized if build.quant in PREFERRED),
        key=lambda build: PREFERRED.index(build.quant),
    )
    # Two bits to make a model fit are no advice; where nothing was said of fitting, any will do.
    return (*checkpoint[:1], *(ranked or ([] if asked.fits else quantized))[:1])


def _formats(asked: Asked) -> tuple[str, ...]:
    if asked.format == "both":
        return ("safetensors", "gguf")
    if asked.format is not None:
        return (asked.format,)
    if asked.fits:
        return ("gguf",)  # what this version serves
    if asked.quants:
        return ("safetensors", "gguf")
    return ("safetensors",) if asked.mirror else ("gguf",)


def _named(catalogue: Catalogue, name: str) -> Iterable[tuple[Model, Build | None]]:
    """A model by its id or the end of it, with a build if one is named. Raises ModelNotFound."""
    lowered = name.lower()
    size, _, build = lowered.partition(":")
    ends = re.compile(rf"-{re.escape(size)}(-|$)")
    models = [model.id for model in catalogue.models.values() if ends.search(model.id)]
    if size in catalogue.models or not models:
        return [catalogue.resolve(lowered)]
    if len(models) > 1:
        raise ConfigError(
            f'"{name}" can be {" or ".join(models)}', next_step="Name the one that is meant"
        )
    return [catalogue.resolve(f"{models[0]}:{build}" if build else models[0])]


def _is_real(model: Model) -> bool:
    return any(build.repository is not None for build in model.builds)


def _orders(catalogue: Catalogue, builds: Sequence[Build]) -> list[Order]:
    """The builds' repositories: builds of one repository and revision are fetched together."""
    together: dict[tuple[str, str | None], list[Build]] = {}
    for build in builds:
        if build.repository is None:
            raise ConfigError(
                f"{build.name} is a local file and cannot be pulled",
                next_step="`holdfast check-config` tells where each build comes from",
            )
        together.setdefault((build.repository, build.revision), []).append(build)
    return [
        _order(catalogue, repository, revision, group)
        for (repository, revision), group in together.items()
    ]


def _order(
    catalogue: Catalogue, repository: str, revision: str | None, builds: Sequence[Build]
) -> Order:
    model = catalogue.models[builds[0].model]
    whole = builds[0].format == "safetensors" or any(not build.files for build in builds)
    known = {file.path: file for build in builds for file in build.files}
    images = {build.mmproj.path: build.mmproj for build in builds if build.mmproj is not None}
    if any(build.format == "safetensors" and build.quant == UNQUANTIZED for build in builds):
        known |= {file.path: file for file in model.small_files}
    sizes = [build.weights_bytes for build in builds] + [file.bytes for file in images.values()]
    return Order(
        repository,
        revision,
        weights=None if whole else tuple(sorted({*known, *images})),
        known=tuple((known | images).values()),
        weights_bytes=_sum(sizes),
        exact=all(build.bytes is not None for build in builds),
        licence=model.licence,
        modelscope=builds[0].modelscope,
        builds=tuple(build.name for build in builds),
    )


def _sum(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


def _repository(catalogue: Catalogue, name: str, asked: Asked) -> list[Order]:
    """A repository by its own name: all of it, or of the quants that are asked for."""
    repository, at, revision = name.partition("@")
    if not _REPOSITORY.fullmatch(repository) or (at and not _REVISION.fullmatch(revision)):
        raise ConfigError(
            f'"{name[:100]}" is neither a model nor a repository',
            next_step='A repository is written "org/name" or "org/name@revision"',
        )
    listed = _listed(catalogue).get(repository.lower(), [])
    if not listed or (revision and revision != listed[0].revision):
        # What the catalogue knows is of its own revision.
        quants = () if "all" in asked.quants else asked.quants
        licence = catalogue.models[listed[0].model].licence if listed else None
        return [Order(repository, revision or None, quants=quants, licence=licence)]
    wanted = {quant.upper() for quant in asked.quants}
    if wanted and "ALL" not in wanted:
        builds = [build for build in listed if build.quant.upper() in wanted]
    else:
        builds = listed
    if not builds:
        known = ", ".join(sorted({build.quant for build in listed}))
        raise ConfigError(
            f"the catalogue knows no such --quant of {repository}",
            next_step=f"Those that it knows: {known}",
        )
    found = _orders(catalogue, builds)
    return found if wanted else [_all_of(order) for order in found]


def _all_of(order: Order) -> Order:
    return replace(order, weights=None, weights_bytes=None, exact=False)


def _listed(catalogue: Catalogue) -> Mapping[str, list[Build]]:
    """The catalogue's builds by their repository, in lower case."""
    found: dict[str, list[Build]] = {}
    for model in catalogue.models.values():
        for build in model.builds:
            if build.repository is not None:
                found.setdefault(build.repository.lower(), []).append(build)
    return found


def _bases(catalogue: Catalogue, asked: Asked) -> tuple[list[Order], tuple[str, ...]]:
    """Those of the models that are asked for, and the models that have none."""
    named = {
        model.id for name in asked.names if "/" not in name for model, _ in _named(catalogue, name)
    }
    wanted = [
        model
        for model in catalogue.models.values()
        if _is_real(model) and (not asked.names or model.id in named)
    ]
    orders = [
        Order(model.base.id, model.base.revision, licence=model.licence)
        for model in wanted
        if model.base is not None
    ]
    return orders, tuple(model.id for model in wanted if model.base is None)


def _check_quants(quants: Sequence[str]) -> None:
    for quant in quants:
        if not re.fullmatch(r"[\w.-]{1,40}", quant, re.ASCII):
            raise ConfigError(
                f'--quant "{quant[:60]}" is no quantization',
                next_step="Write it as in the names of files, such as Q4_K_M or FP8",
            )
