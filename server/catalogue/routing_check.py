"""What must hold between the tables of the router and of clouds: every name stands for something.
What is in one table alone, `routing_rule` says; of routes, `route_check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from server.catalogue import routing_rule as rules
from server.catalogue import routing_schema as schema
from server.catalogue.catalogue import suggestion
from server.catalogue.cloud import EMBEDDING_KINDS, Kind
from server.catalogue.naming import Names, circles
from server.catalogue.route_check import route_problems, unknown, unnamed, unreached
from server.catalogue.rule import broken
from server.catalogue.tree import (
    WRONG,
    Leaf,
    Tree,
    home_of,
    leaf_of,
    listed,
    missing,
    shown,
    subtree,
    told,
    value_of,
)

_EMBEDS = f"Kinds that make them are {', '.join(EMBEDDING_KINDS)}"


def problems(tree: Tree, models: Tree, builds: Tree) -> Iterator[str]:
    """The problems of the router's and the clouds' tables in the document `tree`."""
    router, aliases = subtree(tree, "router"), subtree(tree, "alias")
    names = Names(models, builds, subtree(tree, "cloud"), _candidates_of(aliases))
    yield from broken(rules.ROUTER, router)
    yield from broken(rules.LIMITS, subtree(router, "limits"))
    yield from _log_problems(subtree(router, "request_log"))
    for team in _tables(tree, "team"):
        yield from broken(rules.LIMITS, subtree(team, "limits"))
    for provider in _tables(tree, "provider"):
        yield from _provider_problems(provider)
    for cloud in _tables(tree, "cloud"):
        yield from _cloud_problems(cloud, subtree(tree, "provider"))
    for task in _tables(tree, "task"):
        yield from _task_problems(task)
    for alias in _tables(tree, "alias"):
        yield from _alias_problems(alias, names, subtree(tree, "task"), subtree(tree, "cloud"))
    yield from _circle_problems(aliases, names)
    for route in _tables(tree, "route"):
        yield from route_problems(route, names, tree)
    yield from unreached(subtree(tree, "route"))


def _log_problems(log: Tree) -> Iterator[str]:
    """An empty table asks for nothing, and leaves no trace of where it stood."""
    places = [
        leaf for leaf in (*log.values(), *subtree(log, "key").values()) if isinstance(leaf, Leaf)
    ]
    if places:
        yield from missing(schema.REQUEST_LOG, log, f"{places[0].source}: router.request_log")
        yield from _key_problems(log, f"{places[0].source}: router.request_log")


def _provider_problems(provider: Tree) -> Iterator[str]:
    yield from missing(schema.PROVIDER, provider, home_of(provider, "provider"))
    yield from _key_problems(provider, home_of(provider, "provider"))


def _key_problems(table: Tree, home: str) -> Iterator[str]:
    if "key" in table and not table["key"]:
        yield f"{home}.key names nothing: give env, file or credential"


def _cloud_problems(cloud: Tree, providers: Tree) -> Iterator[str]:
    yield from missing(schema.CLOUD, cloud, home_of(cloud, "cloud"))
    yield from broken(rules.CLOUD, cloud)
    yield from broken(rules.PRICE, subtree(cloud, "price"))
    leaf = leaf_of(cloud, "id")
    provider = leaf.value.partition("/")[0]
    if provider not in providers:
        hint = suggestion(provider, providers, "Providers")
        yield told(leaf, leaf.value, f"no such provider, {shown(provider)}. {hint}")
    kind = value_of(subtree(providers, provider), "kind")
    cannot = kind in get_args(Kind) and kind not in EMBEDDING_KINDS
    if cannot and value_of(cloud, "embeddings") is True:
        what = f"{provider} is of kind {shown(kind)}, which makes no embeddings here"
        yield f"{leaf_of(cloud, 'embeddings').where} = true: {what}. {_EMBEDS}"


def _task_problems(task: Tree) -> Iterator[str]:
    home = leaf_of(task, "name").where
    yield from missing(schema.TASK, task, home)
    weights = subtree(task, "benchmarks").values()
    if "benchmarks" in task and not any(isinstance(leaf, Leaf) and leaf.value for leaf in weights):
        yield f"{home}.benchmarks must weigh at least one benchmark above 0"


def _alias_problems(alias: Tree, names: Names, tasks: Tree, clouds: Tree) -> Iterator[str]:
    leaf = leaf_of(alias, "name")
    yield from missing(schema.ALIAS, alias, f"{leaf.source}: alias[{leaf.value}]")
    yield from broken(rules.ALIAS, alias)
    taken = {"model": names.models, "build": names.builds, "cloud model": names.clouds}
    for what, place in taken.items():
        if leaf.value in place:
            yield told(leaf, leaf.value, f"would hide the {what} of that name")
    yield from unnamed(alias, "candidates", names)
    yield from _mixed_vectors(alias, clouds)
    task = alias.get("task")
    if isinstance(task, Leaf) and task.value is not WRONG and task.value not in tasks:
        yield unknown(task, task.value, "task", tasks)


def _mixed_vectors(alias: Tree, clouds: Tree) -> Iterator[str]:
    """Vectors of one model mean nothing to another: an alias names one such model at most, which
    several providers may offer."""
    named = {
        name: value_of(cloud, "name") or name.partition("/")[2]
        for _, name in listed(alias, "candidates")
        if value_of(cloud := subtree(clouds, name), "embeddings") is True
    }
    if len(set(named.values())) > 1:
        place = leaf_of(alias, "candidates").where
        yield f"{place}: {' and '.join(named)} make vectors that cannot be compared. Name one"


def _circle_problems(aliases: Tree, names: Names) -> Iterator[str]:
    for circle in circles(names.aliases):
        leaf = leaf_of(subtree(aliases, circle[0]), "candidates")
        yield f"{leaf.where}: leads in a circle, {' -> '.join(circle)}"


def _candidates_of(aliases: Tree) -> Mapping[str, Sequence[str]]:
    rows = (
        (name, value_of(alias, "candidates"))
        for name, alias in aliases.items()
        if isinstance(alias, dict)
    )
    return {name: value if isinstance(value, tuple) else () for name, value in rows}


def _tables(tree: Tree, section: str) -> Iterator[Tree]:
    """The entries of a section, but for those that are no tables."""
    yield from (table for table in subtree(tree, section).values() if isinstance(table, dict))
