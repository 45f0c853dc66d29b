"""What no machine could satisfy: a demand that contradicts itself or the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from server.catalogue import Catalogue
from server.errors import ConfigError
from server.planning.demand import Demand, Wish


def check(catalogue: Catalogue, demand: Demand) -> None:
    """Raises ConfigError that names every contradiction."""
    problems = [p for wish in demand.wishes for p in _of(wish, catalogue)]
    problems += _twice(demand)
    if problems:
        raise ConfigError(
            "what is to be served contradicts itself",
            problems=tuple(problems),
            next_step="Change [serve] or its [[serve.model]] tables",
        )


def _of(wish: Wish, catalogue: Catalogue) -> Iterator[str]:
    model = catalogue.models[wish.model]
    builds = [b for b in model.builds if wish.build in (None, b.id)]
    if not any(build.engine in wish.engines for build in builds):
        needed = " or ".join(sorted({build.engine for build in builds})) or "none"
        allowed = ", ".join(wish.engines) + (" (embeddings)" if wish.embeddings else "")
        yield f"{wish.name}: engines: allows {allowed} only, and its builds run in {needed}"
    if wish.context > model.context:
        yield f"{wish.name}: context: {wish.context} is more than the model's {model.context}"
    if wish.context_limit is not None and wish.context > wish.context_limit:
        yield f"{wish.name}: context: at least {wish.context} and at most {wish.context_limit}"
    if wish.slots_limit is not None and wish.slots > wish.slots_limit:
        yield f"{wish.name}: slots: at least {wish.slots} and at most {wish.slots_limit}"
    if wish.pin and wish.ttl is not None:
        yield f"{wish.name}: pin: it never goes, but ttl says after {wish.ttl:g} s of idleness"


def _twice(demand: Demand) -> Iterator[str]:
    seen: set[str] = set()
    for wish in demand.wishes:
        if wish.name in seen:
            yield f"{wish.name}: is demanded twice"
        seen.add(wish.name)
