"""What a configuration file says, as a tree of checked values that remember where they stood."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from server.catalogue.catalogue import shorten
from server.catalogue.node import Table


class _Wrong:
    """The value of a key that was refused: present, so not also reported as missing."""


WRONG = _Wrong()


@dataclass(frozen=True, slots=True)
class Leaf:
    value: Any
    source: Path
    key: str

    @property
    def where(self) -> str:
        return f"{self.source}: {self.key}"


Tree: TypeAlias = dict[str, "Leaf | Tree"]


def shown(value: object) -> str:
    """A value as it would stand in TOML, cut to a readable length."""
    if isinstance(value, str | int | float | list | dict | bool):
        try:
            return shorten(json.dumps(value, ensure_ascii=False, default=str))
        except (ValueError, RecursionError):
            return "(a value too large to show)"
    return shorten(str(value))


def missing(table: Table, tree: Tree, home: str) -> Iterator[str]:
    """The problems of required keys that are absent, in `tree` and in the tables within it."""
    absent = [key for key in table.required if key not in tree]
    if absent:
        yield f"{home} has no {', '.join(absent)}"
    for key, node in table.fields.items():
        inner = tree.get(key)
        if isinstance(node, Table) and isinstance(inner, dict):
            yield from missing(node, inner, f"{home}.{key}")


def home_of(tree: Tree, section: str) -> str:
    """File and key of an entry, from its id (the file that touched it last)."""
    leaf = tree["id"]
    assert isinstance(leaf, Leaf)
    model = tree.get("model")
    name = f"{model.value}:{leaf.value}" if isinstance(model, Leaf) else leaf.value
    return f"{leaf.source}: {section}[{name}]"


def subtree(tree: Tree, key: str) -> Tree:
    """The table at `key`; empty where there is none, or what stood there was refused."""
    inner = tree.get(key)
    return inner if isinstance(inner, dict) else {}


def value_of(tree: Tree, key: str) -> object:
    """What stands at `key`; WRONG where it was refused, None where there is nothing."""
    leaf = tree.get(key)
    return leaf.value if isinstance(leaf, Leaf) else None


def plain(tree: Mapping[str, Leaf | Tree]) -> dict[str, Any]:
    """The tree's values without where they came from."""
    values: dict[str, Any] = {}
    for key, node in tree.items():
        assert not (isinstance(node, Leaf) and node.value is WRONG)
        values[key] = node.value if isinstance(node, Leaf) else plain(node)
    return values


def leaf_of(tree: Tree, key: str) -> Leaf:
    """What stands at a key that every such table has."""
    leaf = tree[key]
    assert isinstance(leaf, Leaf)
    return leaf


def listed(tree: Tree, key: str) -> list[tuple[Leaf, str]]:
    """The names in the list at `key`, each with where it stands; none where it was refused."""
    leaf = tree.get(key)
    if not isinstance(leaf, Leaf) or leaf.value is WRONG:
        return []
    return [(leaf, name) for name in leaf.value]


def told(leaf: Leaf, name: object, text: str) -> str:
    """The problem of `name`, one of the values at `leaf`."""
    return f"{leaf.where} = {shown(name)}: {text}"
