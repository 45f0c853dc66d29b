"""What a name on the command line means of what the store holds."""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Build, Catalogue
from server.errors import ModelNotFound, StoreError
from server.store.shelf import Shelf, Volume


@dataclass(frozen=True, slots=True)
class Choice:
    volume: Volume
    paths: tuple[str, ...] | None = None
    """Files of one build; None: the whole volume."""


def choose(name: str, shelf: Shelf, catalogue: Catalogue) -> tuple[Choice, ...]:
    """A repository, `repository@revision`, a model or a `model:build` -> what is held of it.

    Raises StoreError with the nearest names if nothing is.
    """
    if "/" not in name:
        try:
            model, build = catalogue.resolve(name.lower())
        except ModelNotFound:
            pass
        else:
            builds = model.builds if build is None else (build,)
            return _of_builds(name, shelf, builds, whole=build is None)
    return tuple(Choice(volume) for volume in shelf.find(name))


def builds_in(volume: Volume, catalogue: Catalogue) -> tuple[Build, ...]:
    """The catalogue's builds that this volume holds, by its receipt."""
    return tuple(
        build
        for model in catalogue.models.values()
        for build in model.builds
        if build.repository == volume.repository
        and build.revision in (None, volume.revision)
        and _paths(build, volume)
    )


def _of_builds(
    name: str, shelf: Shelf, builds: tuple[Build, ...], *, whole: bool
) -> tuple[Choice, ...]:
    found: dict[Volume, Choice] = {}
    for build in builds:
        for volume in shelf.volumes(build.repository) if build.repository else ():
            if build.revision not in (None, volume.revision):
                continue
            if paths := _paths(build, volume):
                others = _weights(volume) - set(paths)
                found[volume] = Choice(volume, None if whole or not others else paths)
    if not found:
        raise StoreError(
            f"nothing of {name} is in the store",
            next_step=f"`holdfast pull {name}` fetches it; `holdfast store ls` lists what is held",
        )
    return tuple(found.values())


def _paths(build: Build, volume: Volume) -> tuple[str, ...]:
    """The build's weight files, if the volume holds them all; without the image encoder, which
    other builds may share."""
    weights = _weights(volume)
    if build.format == "safetensors":
        return tuple(sorted(path for path in weights if path.endswith(".safetensors")))
    names = tuple(file.path for file in build.files)
    return names if names and weights.issuperset(names) else ()


def _weights(volume: Volume) -> set[str]:
    return {
        held.path
        for held in (volume.receipt.files if volume.receipt else ())
        if held.path.endswith((".gguf", ".safetensors")) and "mmproj" not in held.path.lower()
    }
