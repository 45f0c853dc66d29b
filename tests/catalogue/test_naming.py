"""What names and patterns stand for."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.naming import Names, circles, fits, flatten

NAMES = Names(
    models=("tiny", "small"),
    builds=("tiny:q4",),
    clouds=("acme/big", "acme/vendor/x"),
    aliases={"auto": ("*",), "local": ("local",), "both": ("auto", "tiny")},
)


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("*", "word"),
        ("cloud", "word"),
        ("local", "word"),  # even where an alias has that name
        ("tiny", "model"),
        ("tiny:q4", "build"),
        ("acme/big", "cloud"),
        ("acme/*", "provider"),
        ("acme/vendor/*", "provider"),
        ("auto", "alias"),
        ("acme", None),
        ("acne/*", None),
        ("tiny:q5", None),
        ("", None),
    ],
)
def test_what_a_candidate_is(name: str, sort: str | None) -> None:
    assert NAMES.sort(name) == sort


def test_what_can_be_asked_for_and_be_a_candidate() -> None:
    askable = ["auto", "local", "both", "tiny", "small", "acme/big", "acme/vendor/x", "tiny:q4"]
    assert NAMES.askable == askable
    assert NAMES.candidates == ["local", "cloud", "*", "acme/*", *askable]
    assert all(NAMES.sort(name) for name in NAMES.candidates)


def test_a_hint_names_near_builds_but_does_not_list_them_all() -> None:
    assert NAMES.hint("tiny:q5", NAMES.single, "Models") == 'Did you mean "tiny:q4" or "tiny"?'
    assert (
        NAMES.hint("zzz", NAMES.single, "Models") == "Models: tiny, small, acme/big, acme/vendor/x"
    )


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("tiny", "tiny", True),
        ("tiny", "tiny:q4", True),
        ("tiny", "tiny2", False),
        ("tiny:q4", "tiny", False),
        ("*", "anything/at:all", True),
        ("acme/*", "acme/vendor/x", True),
        ("acme/*", "acme", False),
        ("qwen3.5-*", "qwen3.5-9b:q4_k_m", True),
        ("qwen3.5-*", "qwen315-9b", False),
        ("a*c*e", "abcde", True),
        ("a*c*e", "abcd", False),
        ("Tiny", "tiny", False),
    ],
)
def test_patterns(pattern: str, name: str, meant: bool) -> None:
    assert fits(pattern, name) is meant


@pytest.mark.parametrize(
    ("candidates", "flat"),
    [
        (("both",), ("*", "tiny")),
        (("tiny", "both", "acme/big"), ("tiny", "*", "acme/big")),
        (("local",), ("local",)),
        ((), ()),
    ],
)
def test_aliases_are_replaced_by_what_they_stand_for(
    candidates: tuple[str, ...], flat: tuple[str, ...]
) -> None:
    assert flatten(candidates, NAMES.aliases) == flat


ALIASES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.sampled_from(["a", "b", "c", "d", "x", "*"]), max_size=3)
)


@given(ALIASES)
def test_flattening_ends_and_leaves_no_alias(aliases: dict[str, list[str]]) -> None:
    flat = flatten(aliases, aliases)
    assert not set(flat) & aliases.keys()
    assert len(set(flat)) == len(flat)


@given(ALIASES)
def test_circles_are_told_until_there_are_none(aliases: dict[str, list[str]]) -> None:
    found = circles(aliases)
    for circle in found:
        assert circle[0] == circle[-1]
        assert all(b in aliases[a] for a, b in pairwise(circle))
    assert len(set(found)) == len(found)
    last_steps = {circle[-2:] for circle in found}
    broken = {
        name: [other for other in candidates if (name, other) not in last_steps]
        for name, candidates in aliases.items()
    }
    assert not circles(broken)


def test_many_aliases_of_aliases_are_no_burden() -> None:
    """Each names the next two, so that there are two to the 60th ways through them."""
    aliases = {f"a{n}": (f"a{n + 1}", f"a{n + 2}") for n in range(60)}
    assert circles(aliases) == []
    assert flatten(["a0"], aliases) == ("a60", "a61")
