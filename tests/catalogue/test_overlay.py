"""Laying files over each other, and models over families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue import Catalogue
from server.catalogue.overlay import merge
from server.catalogue.tree import Leaf, Tree

LEAF = st.builds(Leaf, st.integers(), st.just(Path("a.toml")), st.just("key"))
TREES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAF, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), LEAF | inner, max_size=3),
    max_leaves=12,
)


@given(TREES, TREES)
def test_merging_is_idempotent(below: Tree, above: Tree) -> None:
    merged = merge(below, above)
    assert merge(merged, above) == merged
    assert merge({}, above) == above
    assert merge(below, {}) == below
    assert merge(below, below) == below


@given(TREES, TREES, TREES)
def test_merging_is_associative_where_shapes_agree(a: Tree, b: Tree, c: Tree) -> None:
    """A value above a table (or under one) is refused by the schema before trees are merged."""
    if _agree(a, b, c):
        assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(TREES, TREES)
def test_merging_changes_neither(below: Tree, above: Tree) -> None:
    before = (repr(below), repr(above))
    merge(below, above)
    assert (repr(below), repr(above)) == before


def _shape(tree: Tree, prefix: str = "") -> dict[str, str]:
    shape = {}
    for key, node in tree.items():
        shape[prefix + key] = "leaf" if isinstance(node, Leaf) else "table"
        if isinstance(node, dict):
            shape |= _shape(node, f"{prefix}{key}.")
    return shape


def _agree(*trees: Tree) -> bool:
    kinds: dict[str, str] = {}
    return all(
        kinds.setdefault(key, kind) == kind for t in trees for key, kind in _shape(t).items()
    )


def test_single_fields_are_overridden(whole: str, catalogue_of: Callable[..., Catalogue]) -> None:
    over = """
    [serve]
    port = 9000
    [[model]]
    id = "tiny"
    context = 2048
    sampling.thinking.top_p = 0.5
    architecture.hidden = 256
    [[build]]
    model = "tiny"
    id = "q4"
    revision = "ffffffffffffffffffffffffffffffffffffffff"
    """
    plain, laid = catalogue_of(whole), catalogue_of(whole, over)
    assert (laid.serve.port, laid.serve.queue_timeout) == (9000, plain.serve.queue_timeout)
    model, before = laid.models["tiny"], plain.models["tiny"]
    assert (model.context, model.title) == (2048, before.title)
    assert (model.architecture.hidden, model.architecture.layers) == (256, 8)
    assert model.sampling["thinking"].top_p == 0.5
    assert model.sampling["thinking"].temperature == 0.6
    build = laid.resolve("tiny:q4")[1]
    assert build is not None
    assert build.revision == "f" * 40
    assert build.files == plain.models["tiny"].builds[0].files


def test_overlays_applied_twice_change_nothing(
    whole: str, catalogue_of: Callable[..., Catalogue]
) -> None:
    over = '[serve]\nport = 9000\n[[model]]\nid = "tiny"\ncontext = 2048\n'
    once, twice = catalogue_of(whole, over), catalogue_of(whole, over, over)
    assert (once.models, once.serve) == (twice.models, twice.serve)


def test_like_a_model_takes_its_shape_but_not_its_builds(
    load_over: Callable[..., Catalogue],
) -> None:
    catalogue = load_over(
        """
        [[model]]
        id = "my-finetune"
        like = "qwen3.5-0.8b"
        [[build]]
        model = "my-finetune"
        id = "q8"
        engine = "llama-server"
        format = "gguf"
        quant = "Q8_0"
        path = "weights/mine.gguf"
        """
    )
    mine, base = catalogue.models["my-finetune"], catalogue.models["qwen3.5-0.8b"]
    assert mine.architecture == base.architecture
    assert (mine.context, mine.sampling) == (base.context, base.sampling)
    assert (mine.title, dict(mine.scores), mine.base) == ("my-finetune", {}, None)
    (build,) = mine.builds
    assert build.path == catalogue.sources[-1].parent / "weights/mine.gguf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[family.a]\nlike = 'b'", ['0.toml: family.a.like = "b": no such family or model. ']),
        (
            "[family.a]\nlike = 'b'\n[family.b]\nlike = 'a'\n[[model]]\nid = 'm'\nlike = 'a'",
            ["0.toml: family.b.like = ", "0.toml: family.a.like = "],
        ),
        (
            "[[model]]\nid = 'm'\nlike = 'm'",
            ['0.toml: model[m].like = "m": leads in a circle, model[m] -> model[m]'],
        ),
        ("[[model]]\nid = 'm'\nlike = 'x'", ['0.toml: model[m].like = "x": no such family']),
    ],
)
def test_like_that_leads_nowhere_is_the_only_problem(
    problems_of: Callable[..., list[str]], text: str, expected: list[str]
) -> None:
    problems = problems_of(text)
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)
