"""What is known and cannot be asked, since it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from server.catalogue import Catalogue


def absent(
    catalogue: Catalogue, local: Mapping[str, object], keyless: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Names that are known but not there, and why. `local`: builds that are served, by name."""
    served = {name.partition(":")[0] for name in local}
    for model in catalogue.models.values():
        if model.id not in served:
            yield model.id, f"{model.title} is in the catalogue, but is not running"
        for build in model.builds:
            if build.name not in local:
                yield build.name, f"{build.name} is in the catalogue, but is not running"
    for cloud in catalogue.clouds.values():
        if cloud.provider in keyless:
            yield cloud.id, f"{cloud.provider} has no key: {keyless[cloud.provider]}"
