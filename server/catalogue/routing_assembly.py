"""Checked tables of the router and of clouds -> their frozen types."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from server.catalogue.cloud import CloudModel, KeySource, Price, Provider, Rate
from server.catalogue.naming import flatten
from server.catalogue.router import (
    Alias,
    Canary,
    Limits,
    Match,
    RequestLog,
    Route,
    Router,
    Shadow,
    Task,
    Team,
)
from server.catalogue.tree import Tree, plain, subtree


def providers(tree: Tree) -> Mapping[str, Provider]:
    """`[[provider]]`, by id."""
    return MappingProxyType({name: _provider(row) for name, row in _rows(tree, "provider")})


def clouds(tree: Tree) -> Mapping[str, CloudModel]:
    """`[[cloud]]`, by id."""
    return MappingProxyType({name: _cloud(row) for name, row in _rows(tree, "cloud")})


def router(tree: Tree) -> Router:
    """`[router]`, with the aliases, tasks, routes and teams of the document `tree`."""
    values = plain(subtree(tree, "router"))
    limits = Limits(**values.pop("limits", {}))
    told = values.pop("request_log", {})
    rows = dict(_rows(tree, "alias"))
    stand_for = {name: row["candidates"] for name, row in rows.items()}
    aliases = {name: Alias(**_flat(row, stand_for)) for name, row in rows.items()}
    tasks = {name: Task(**_frozen(row, "benchmarks")) for name, row in _rows(tree, "task")}
    teams = {name: Team(name, Limits(**row.get("limits", {}))) for name, row in _rows(tree, "team")}
    return Router(
        **values,
        aliases=MappingProxyType(aliases),
        tasks=MappingProxyType(tasks),
        routes=tuple(_route(_flat(row, stand_for)) for _, row in _rows(tree, "route")),
        teams=MappingProxyType(teams),
        limits=limits,
        request_log=RequestLog(**_with_key(told)) if "url" in told else None,
    )


def match(values: Mapping[str, Any]) -> Match:
    """The conditions of a route from the plain values of its `when`."""
    return Match(**_frozen(values, "headers"))


def _route(row: dict[str, Any]) -> Route:
    parts = {"canary": Canary, "shadow": Shadow}
    made = {key: make(**row[key]) for key, make in parts.items() if key in row}
    return Route(**{**_frozen(row, "weights"), **made, "when": match(row.get("when", {}))})


def _flat(row: Mapping[str, Any], aliases: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The row with no alias left among its candidates."""
    lists = ("candidates", "fallbacks")
    return {**row, **{key: flatten(row[key], aliases) for key in lists if key in row}}


def _provider(row: dict[str, Any]) -> Provider:
    return Provider(**_with_key(row))


def _with_key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "key": KeySource(**row["key"])} if "key" in row else dict(row)


def _cloud(row: dict[str, Any]) -> CloudModel:
    provider, _, name = row["id"].partition("/")
    price = dict(row["price"])
    tiers = price.pop("tiers", ())
    return CloudModel(
        **{
            "name": name,
            "title": row["id"],
            **_frozen(row, "scores"),
            "provider": provider,
            "price": Price(Rate(**price), tiers),
            "features": frozenset(row.get("features", ())),
        }
    )


def _frozen(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The row with the table at `key`, if there is one, made read-only."""
    return {**row, key: MappingProxyType(row[key])} if key in row else dict(row)


def _rows(tree: Tree, section: str) -> list[tuple[str, dict[str, Any]]]:
    return list(plain(subtree(tree, section)).items())
