"""Laying trees over each other: a later file over an earlier one, a model over its family."""

from __future__ import annotations

from server.catalogue.catalogue import suggestion
from server.catalogue.document import WRONG, Leaf, Tree
from server.catalogue.schema import INHERITED


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

    `like` names a family, else a model; those may be `like` others in turn.
    """
    problems: list[str] = []
    known = {**models, **families}

    def complete(tree: Tree, path: tuple[str, ...]) -> Tree:
        like = tree.get("like")
        if not isinstance(like, Leaf) or like.value is WRONG:
            return tree
        if like.value in path:
            chain = " -> ".join((*path, like.value))
            problems.append(f'{like.where} = "{like.value}": leads back to itself ({chain})')
            return tree
        parent = known.get(like.value)
        if not isinstance(parent, dict):
            hint = suggestion(like.value, known, "Families and models")
            problems.append(f'{like.where} = "{like.value}": no such family or model. {hint}')
            return tree
        inherited = complete(parent, (*path, like.value))
        shared = {key: value for key, value in inherited.items() if key in INHERITED}
        return merge(shared, tree)

    completed: Tree = {}
    for name, tree in models.items():
        assert isinstance(tree, dict)
        completed[name] = complete(tree, (name,))
    return completed, problems
