"""What a name in the router's tables stands for, and which names a pattern fits. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from server.catalogue.catalogue import Catalogue, suggestion

WORDS = ("local", "cloud", "*")
"""Candidates that stand for many: every local build, every cloud model, both.

They always mean that, even where an alias has the same name: `local` is one."""

Sort = Literal["word", "model", "build", "cloud", "provider", "alias"]


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that has a name which the router's tables may give."""

    models: Collection[str]
    builds: Collection[str]
    """`model:build`"""
    clouds: Collection[str]
    """`PROVIDER/NAME`"""
    aliases: Mapping[str, Sequence[str]]
    """The candidates of each."""

    def sort(self, name: str) -> Sort | None:
        """What a candidate is; `provider` for `PROVIDER/*`, None where it stands for nothing."""
        if name in WORDS:
            return "word"
        if name.endswith("/*"):
            return "provider" if any(fits(name, cloud) for cloud in self.clouds) else None
        places: tuple[tuple[Sort, Collection[str]], ...] = (
            ("model", self.models),
            ("build", self.builds),
            ("cloud", self.clouds),
            ("alias", self.aliases),
        )
        return next((sort for sort, place in places if name in place), None)

    @property
    def single(self) -> list[str]:
        """What is one model: those here and of clouds, and builds."""
        return [*self.models, *self.clouds, *self.builds]

    @property
    def askable(self) -> list[str]:
        """What a client can ask for."""
        return [*self.aliases, *self.single]

    @property
    def candidates(self) -> list[str]:
        """What may stand among the candidates of an alias or a route."""
        providers = dict.fromkeys(f"{cloud.partition('/')[0]}/*" for cloud in self.clouds)
        return [*WORDS, *providers, *self.askable]

    def hint(self, wrong: str, choices: list[str], noun: str) -> str:
        """The nearest of `choices`, or all of them where none is near: without the builds, since
        a catalogue has a hundred."""
        near = suggestion(wrong, choices, "")
        few = [name for name in choices if name not in self.builds]
        return near if near.startswith("Did") else suggestion(wrong, few, noun)


def names_of(catalogue: Catalogue) -> Names:
    """Everything that has a name in `catalogue`."""
    return Names(
        catalogue.models,
        [build.name for model in catalogue.models.values() for build in model.builds],
        catalogue.clouds,
        {name: alias.candidates for name, alias in catalogue.router.aliases.items()},
    )


def flatten(candidates: Iterable[str], aliases: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Candidates with the aliases among them replaced by what they stand for; each once, in order.

    An alias that leads back to itself adds nothing.
    """
    flat: dict[str, None] = {}
    opened: set[str] = set()

    def add(names: Iterable[str]) -> None:
        for name in names:
            if name in WORDS or name not in aliases:
                flat[name] = None
            elif name not in opened:
                opened.add(name)
                add(aliases[name])

    add(candidates)
    return tuple(flat)


def circles(aliases: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Circles in which aliases lead back to themselves, `("a", "b", "a")`: none is told twice, and
    breaking each of them breaks all."""
    found: list[tuple[str, ...]] = []
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append((*path[path.index(name) :], name))
        elif name not in done:
            for candidate in aliases[name]:
                if candidate not in WORDS and candidate in aliases:
                    follow(candidate, (*path, name))
            done.add(name)

    for name in aliases:
        follow(name, ())
    return list(dict.fromkeys(found))


def fits(pattern: str, name: str) -> bool:
    """Whether `name` is meant: `*` stands for any characters, and a model's name for its builds."""
    if "*" in pattern:
        return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name))
    return name == pattern or name.startswith(f"{pattern}:")
