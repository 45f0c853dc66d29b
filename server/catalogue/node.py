"""Of what kinds the nodes of a configuration file are; `schema` says which stand where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.catalogue.field import Parse


@dataclass(frozen=True, slots=True)
class Table:
    """A table with fixed keys; overlays merge it key by key."""

    fields: Mapping[str, Node]
    required: tuple[str, ...] = ()
    private: bool = False
    """Whether a secret may stand in its place by mistake, so that no problem shows it."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A table whose keys are names, all with the same kind of value."""

    key: Parse
    value: Node
    name: str = ""
    """The key at which each value, a table, is given its own name."""


@dataclass(frozen=True, slots=True)
class Entries:
    """An array of tables, each known by its `key`, or by `model:id` where it has a model."""

    table: Table
    unique: bool = True
    key: str = "id"


@dataclass(frozen=True, slots=True)
class Whole:
    """A table or list of tables that becomes one value; an overlay replaces it as a whole."""

    table: Table
    make: Callable[[dict[str, object]], object]
    many: bool = False


Node = Parse | Table | Dictionary | Entries | Whole
