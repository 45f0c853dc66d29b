"""What must hold of `[[route]]` beside the other tables: its names stand for something, what is
local-only stays so, and it can be reached."""

from __future__ import annotations

from collections.abc import Iterator

from server.catalogue import routing_rule as rules
from server.catalogue import routing_schema as schema
from server.catalogue.catalogue import suggestion
from server.catalogue.naming import Names, fits, flatten
from server.catalogue.reach import covers
from server.catalogue.router import Match
from server.catalogue.routing_assembly import match
from server.catalogue.rule import broken
from server.catalogue.tree import (
    WRONG,
    Leaf,
    Tree,
    home_of,
    listed,
    missing,
    plain,
    shown,
    subtree,
    told,
    value_of,
)


def route_problems(route: Tree, names: Names, tree: Tree) -> Iterator[str]:
    """The problems of one route in the document `tree`."""
    when = subtree(route, "when")
    yield from missing(schema.ROUTE, route, home_of(route, "route"))
    yield from broken(rules.ROUTE, route)
    yield from broken(rules.MATCH, when)
    for key, noun in (("tasks", "task"), ("teams", "team")):
        for leaf, name in listed(when, key):
            if name not in subtree(tree, noun):
                yield unknown(leaf, name, noun, subtree(tree, noun))
    for leaf, pattern in listed(when, "models"):
        if not any(fits(pattern, name) for name in names.askable):
            hint = names.hint(pattern, names.askable, "Names")
            yield told(leaf, pattern, f"nothing has such a name. {hint}")
    for key in ("candidates", "fallbacks"):
        yield from unnamed(route, key, names)
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
        yield told(leaf, leaf.value, f"{what}. {hint}")
    if key == "shadow" and sort == "cloud" and "day" not in trial:
        yield told(leaf, leaf.value, 'needs day, what it may cost, such as "1 USD"')


def _leaks(route: Tree, names: Names) -> Iterator[str]:
    """What a local-only route names must not lead to a cloud."""
    if value_of(route, "local_only") is not True and value_of(route, "policy") != "local-only":
        return
    named = [*listed(route, "candidates"), *listed(route, "fallbacks")]
    for key in ("canary", "shadow"):
        leaf = subtree(route, key).get("model")
        named += [(leaf, leaf.value)] if isinstance(leaf, Leaf) and leaf.value is not WRONG else []
    for leaf, name in named:
        for one in flatten([name], names.aliases):
            if one == "cloud" or names.sort(one) in ("cloud", "provider"):
                by = "" if one == name else f" by {shown(one)}"
                yield told(leaf, name, f"leads to a cloud{by}, and the route is local-only")
                break


def unreached(routes: Tree) -> Iterator[str]:
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
            home = home_of(route, "route")
            yield f"{home} can never be reached: route[{before}] before it takes all its requests"
        earlier[name] = own


def unnamed(tree: Tree, key: str, names: Names) -> Iterator[str]:
    """The candidates listed at `key` that stand for nothing."""
    for leaf, name in listed(tree, key):
        if names.sort(name) is None:
            hint = names.hint(name, names.candidates, "Candidates")
            yield told(leaf, name, f"stands for nothing. {hint}")


def unknown(leaf: Leaf, name: str, noun: str, known: Tree) -> str:
    """The problem of a task or team that there is not."""
    hint = suggestion(name, known, f"{noun.capitalize()}s")
    return told(leaf, name, f"no such {noun}. {hint}")
