"""Laying trees over each other: a later file over an earlier one, a model over its family."""

from __future__ import annotations

from dataclasses import replace

from server.catalogue.catalogue import suggestion
from server.catalogue.schema import INHERITED
from server.catalogue.tree import WRONG, Leaf, Tree, shown


def merge(below: Tree, above: Tree) -> Tree:
    """Tables are merged key by key; any other value of `above` replaces that of `below`.

    Pure, and idempotent: merging `above` once more changes nothing.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def inherit(models: Tree, families: Tree) -> tuple[Tree, list[str]]:
    """Models with what they inherit through `like` filled in, and the problems met.

    `like` names a family, else a model; those may be `like` others in turn. Where it leads nowhere
    it becomes WRONG, so that what the model then lacks is not reported as well.
    """
    problems: list[str] = []
    families = {name: tree if isinstance(tree, dict) else {} for name, tree in families.items()}

    def complete(kind: str, name: str, path: tuple[str, ...]) -> Tree:
        tree = (families if kind == "family" else models)[name]
        assert isinstance(tree, dict)
        path = (*path, f"{kind}[{name}]")
        like = tree.get("like")
        if not isinstance(like, Leaf) or like.value is WRONG:
            return tree
        parent_kind = "family" if like.value in families else "model"
        parent = f"{parent_kind}[{like.value}]"
        if like.value not in families and like.value not in models:
            known = {**families, **models}
            problems.append(
                f"{like.where} = {shown(like.value)}: no such family or model. "
                f"{suggestion(like.value, known, 'Families and models')}"
            )
        elif parent in path:
            circle = " -> ".join((*path[path.index(parent) :], parent))
            problems.append(f"{like.where} = {shown(like.value)}: leads in a circle, {circle}")
        else:
            inherited = complete(parent_kind, like.value, path)
            shared = {key: value for key, value in inherited.items() if key in INHERITED}
            broken = isinstance(own := shared.get("like"), Leaf) and own.value is WRONG
            return merge(shared, {**tree, "like": replace(like, value=WRONG) if broken else like})
        return {**tree, "like": replace(like, value=WRONG)}

    for family in families:  # those that no model is like are checked as well
        complete("family", family, ())
    completed: Tree = {name: complete("model", name, ()) for name in models}
    return completed, problems
