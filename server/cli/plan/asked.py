"""What the flags ask for, laid over `[serve]`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from server.catalogue import Catalogue
from server.errors import ConfigError
from server.planning.demand import Demand, demand


@dataclass(frozen=True, slots=True)
class Asked:
    """None and empty: what the configuration says."""

    models: tuple[str, ...] = ()
    context: int | None = None
    """Tokens of each slot."""
    slots: int | None = None
    pins: tuple[str, ...] = ()


def wanted(catalogue: Catalogue, asked: Asked) -> Demand:
    """The demand of the configuration as the flags change it.

    Raises ModelNotFound for a name that the catalogue does not have, and ConfigError for a pin of
    what is not to be served.
    """
    serve = catalogue.serve
    tables = tuple(
        replace(
            table,
            context=table.context if asked.context is None else None,
            slots=table.slots if asked.slots is None else None,
        )
        for table in serve.model
    )
    changed = replace(
        serve,
        models=asked.models or serve.models,
        auto=serve.auto and not asked.models,
        context=serve.context if asked.context is None else asked.context,
        slots=serve.slots if asked.slots is None else asked.slots,
        model=tables,
    )
    return _pinned(catalogue, demand(replace(catalogue, serve=changed)), asked.pins)


def names(texts: Iterable[str]) -> tuple[str, ...]:
    """`["a,b", "c"]` -> `("a", "b", "c")`, each once."""
    parts = (part.strip() for text in texts for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def tokens(text: str) -> int:
    """`"32768"`, `"32K"` or `"1M"` -> a number of tokens. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,9})([kKmM]?)", text.strip())
    count = int(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2].lower()] if match else 0
    if not count:
        raise ConfigError(
            f'--context "{text}" is no number of tokens', next_step="Write it as 32768 or 32K"
        )
    return count


def _pinned(catalogue: Catalogue, made: Demand, pins: tuple[str, ...]) -> Demand:
    chosen = [(name, catalogue.resolve(name)) for name in pins]
    wishes = made.wishes
    for name, (model, build) in chosen:
        if not any(w.model == model.id and (not build or w.build == build.id) for w in wishes):
            listed = ", ".join(wish.name for wish in wishes)
            raise ConfigError(
                f"--pin {name} is not among what is to be served",
                next_step=f"Add it to --models; now there are {listed}",
            )
        wishes = tuple(
            replace(w, pin=True)
            if w.model == model.id and (not build or w.build == build.id)
            else w
            for w in wishes
        )
    return replace(made, wishes=wishes)
