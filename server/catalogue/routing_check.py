"""What must hold between the tables of the router: every name stands for something, and every route
can be reached. What is in one table alone, `routing_rule` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from server.catalogue import routing_rule as rules
from server.catalogue import routing_schema as schema
from server.catalogue.catalogue import suggestion
from server.catalogue.naming import Names, circles, fits, flatten
from server.catalogue.reach import covers
from server.catalogue.router import Match
from server.catalogue.routing_assembly import match
from server.catalogue.rule import broken
from server.catalogue.tree import WRONG, Leaf, Tree, missing, plain, shown, subtree, value_of


def problems(tree: Tree, models: Tree, builds: Tree) -> Iterator[str]:
    """The problems of the router's and the clouds' tables in the document `tree`."""
    router, aliases = subtree(tree, "router"), subtree(tree, "alias")
    names = Names(models, builds, subtree(tree, "cloud"), _candidates_of(aliases))
    yield from broken(rules.ROUTER, router)
    yield from broken(rules.LIMITS, subtree(router, "limits"))
    for team in _tables(tree, "team"):
        yield from broken(rules.LIMITS, subtree(team, "limits"))
    for provider in _tables(tree, "provider"):
        yield from _provider_problems(provider)
    for cloud in _tables(tree, "cloud"):
        yield from _cloud_problems(cloud, subtree(tree, "provider"))
    for task in _tables(tree, "task"):
        yield from _task_problems(task)
    for alias in _tables(tree, "alias"):
        yield from _alias_problems(alias, names, subtree(tree, "task"))
    yield from _circle_problems(aliases, names)
    for route in _tables(tree, "route"):
        yield from _route_problems(route, names, tree)
    yield from _unreached(subtree(tree, "route"))


def _provider_problems(provider: Tree) -> Iterator[str]:
    yield from missing(schema.PROVIDER, provider, _home(provider, "provider"))
    if "key" in provider and not provider["key"]:
        yield f"{_home(provider, 'provider')}.key names nothing: give env, file or credential"


def _cloud_problems(cloud: Tree, providers: Tree) -> Iterator[str]:
    yield from missing(schema.CLOUD, cloud, _home(cloud, "cloud"))
    yield from broken(rules.CLOUD, cloud)
    yield from broken(rules.PRICE, subtree(cloud, "price"))
    leaf = _leaf(cloud, "id")
    provider = leaf.value.partition("/")[0]
    if provider not in providers:
        hint = suggestion(provider, providers, "Providers")
        yield _told(leaf, leaf.value, f"no such provider, {shown(provider)}. {hint}")


def _task_problems(task: Tree) -> Iterator[str]:
    home = _leaf(task, "name").where
    yield from missing(schema.TASK, task, home)
    weights = subtree(task, "benchmarks").values()
    if "benchmarks" in task and not any(isinstance(leaf, Leaf) and leaf.value for leaf in weights):
        yield f"{home}.benchmarks must weigh at least one benchmark above 0"


def _alias_problems(alias: Tree, names: Names, tasks: Tree) -> Iterator[str]:
    leaf = _leaf(alias, "name")
    yield from missing(schema.ALIAS, alias, f"{leaf.source}: alias[{leaf.value}]")
    yield from broken(rules.ALIAS, alias)
    taken = {"model": names.models, "build": names.builds, "cloud model": names.clouds}
    for what, place in taken.items():
        if leaf.value in place:
            yield _told(leaf, leaf.value, f"would hide the {what} of that name")
    yield from _unnamed(alias, "candidates", names)
    task = alias.get("task")
    if isinstance(task, Leaf) and task.value is not WRONG and task.value not in tasks:
        yield _unknown(task, task.value, "task", tasks)


def _circle_problems(aliases: Tree, names: Names) -> Iterator[str]:
    for circle in circles(names.aliases):
        leaf = _leaf(subtree(aliases, circle[0]), "candidates")
        yield f"{leaf.where}: leads in a circle, {' -> '.join(circle)}"


def _route_problems(route: Tree, names: Names, tree: Tree) -> Iterator[str]:
    when = subtree(route, "when")
    yield from missing(schema.ROUTE, route, _home(route, "route"))
    yield from broken(rules.ROUTE, route)
    yield from broken(rules.MATCH, when)
    for key, noun in (("tasks", "task"), ("teams", "team")):
        for leaf, name in _listed(when, key):
            if name not in subtree(tree, noun):
                yield _unknown(leaf, name, noun, subtree(tree, noun))
    for leaf, pattern in _listed(when, "models"):
        if not any(fits(pattern, name) for name in names.askable):
            hint = names.hint(pattern, names.askable, "Names")
            yield _told(leaf, pattern, f"nothing has such a name. {hint}")
    for key in ("candidates", "fallbacks"):
        yield from _unnamed(route, key, names)
    yield from _weight_problems(route, names)
    for key in ("canary", "shadow"):
        yield from _trial_problems(subtree(route, key), key, names)
    yield from _leaks(route, names)


def _weight_problems(route: Tree, names: Names) -> Iterator[str]:
    """Weights are for the policy `weighted`, and for its candidates alone."""
    weights = subtree(route, "weights")
    candidates = value_of(route, "candidates")
    policy = value_of(route, "policy")
    for name, leaf in weights.items():
        assert isinstance(leaf, Leaf)
        if names.sort(name) == "alias":
            own = ", ".join(map(shown, flatten([name], names.aliases)))
            yield f"{leaf.where}: an alias has no weight of its own: name what it stands for, {own}"
        elif isinstance(candidates, tuple) and name not in candidates and leaf.value is not WRONG:
            hint = suggestion(name, candidates, "Candidates")
            yield f"{leaf.where}: is not among the route's candidates. {hint}"
    leaves = [leaf for leaf in weights.values() if isinstance(leaf, Leaf)]
    if leaves and policy not in ("weighted", WRONG):
        yield f'{leaves[0].where}: weights are for policy = "weighted" only'
    if leaves and not any(leaf.value for leaf in leaves):
        yield f"{leaves[0].where} = {shown(leaves[0].value)}: no weight of the route is above 0"


def _trial_problems(trial: Tree, key: str, names: Names) -> Iterator[str]:
    """A canary or a shadow is one model, and what a shadow costs is bounded."""
    leaf = trial.get("model")
    if not isinstance(leaf, Leaf) or leaf.value is WRONG:
        return
    single = ("model", "build", "cloud")
    sort = names.sort(leaf.value)
    if sort not in single:
        what = "no such model" if sort is None else f"a {key} is one model"
        hint = names.hint(leaf.value, names.single, "Models")
        yield _told(leaf, leaf.value, f"{what}. {hint}")
    if key == "shadow" and sort == "cloud" and "day" not in trial:
        yield _told(leaf, leaf.value, 'needs day, what it may cost, such as "1 USD"')


def _leaks(route: Tree, names: Names) -> Iterator[str]:
    """What a local-only route names must not lead to a cloud."""
    if value_of(route, "local_only") is not True and value_of(route, "policy") != "local-only":
        return
    named = [*_listed(route, "candidates"), *_listed(route, "fallbacks")]
    for key in ("canary", "shadow"):
        leaf = subtree(route, key).get("model")
        named += [(leaf, leaf.value)] if isinstance(leaf, Leaf) and leaf.value is not WRONG else []
    for leaf, name in named:
        for one in flatten([name], names.aliases):
            if one == "cloud" or names.sort(one) in ("cloud", "provider"):
                by = "" if one == name else f" by {shown(one)}"
                yield _told(leaf, name, f"leads to a cloud{by}, and the route is local-only")
                break


def _unreached(routes: Tree) -> Iterator[str]:
    """Routes whose every request an earlier one takes."""
    earlier: dict[str, Match] = {}
    for name, route in routes.items():
        assert isinstance(route, dict)  # an entry of an array of tables always is
        when = subtree(route, "when")
        if any(
            leaf.value is WRONG
            for leaf in (*when.values(), *subtree(when, "headers").values())
            if isinstance(leaf, Leaf)
        ):
            continue
        own = match(plain(when))
        before = next((other for other, wide in earlier.items() if covers(wide, own)), None)
        if before is not None:
            home = _home(route, "route")
            yield f"{home} can never be reached: route[{before}] before it takes all its requests"
        earlier[name] = own


def _unnamed(tree: Tree, key: str, names: Names) -> Iterator[str]:
    for leaf, name in _listed(tree, key):
        if names.sort(name) is None:
            hint = names.hint(name, names.candidates, "Candidates")
            yield _told(leaf, name, f"stands for nothing. {hint}")


def _told(leaf: Leaf, name: object, text: str) -> str:
    """`name`: the value at fault, of those at `leaf`."""
    return f"{leaf.where} = {shown(name)}: {text}"


def _unknown(leaf: Leaf, name: str, noun: str, known: Tree) -> str:
    hint = suggestion(name, known, f"{noun.capitalize()}s")
    return _told(leaf, name, f"no such {noun}. {hint}")


def _listed(tree: Tree, key: str) -> list[tuple[Leaf, str]]:
    leaf = tree.get(key)
    if not isinstance(leaf, Leaf) or leaf.value is WRONG:
        return []
    return [(leaf, name) for name in leaf.value]


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


def _home(tree: Tree, section: str) -> str:
    leaf = _leaf(tree, "id")
    return f"{leaf.source}: {section}[{leaf.value}]"


def _leaf(tree: Tree, key: str) -> Leaf:
    leaf = tree[key]
    assert isinstance(leaf, Leaf)
    return leaf
