from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.chat.responses import Kept

ITEMS = [{"role": "user", "content": "hi"}]
SIZE = len(b'[{"role":"user","content":"hi"}]')


def test_what_is_kept_comes_back_to_its_owner_alone() -> None:
    kept = Kept()
    assert kept.keep("a", "ann", ITEMS, 0.0)
    assert kept.recall("a", "ann", 1.0) == ITEMS
    assert kept.recall("a", "bob", 1.0) is None
    assert kept.recall("b", "ann", 1.0) is None


def test_it_cannot_be_changed_from_outside() -> None:
    kept = Kept()
    items = [dict(ITEMS[0])]
    kept.keep("a", "ann", items, 0.0)
    items[0]["content"] = "x"
    found = kept.recall("a", "ann", 0.0)
    assert found == ITEMS
    found[0]["content"] = "y"
    assert kept.recall("a", "ann", 0.0) == ITEMS


def test_it_is_forgotten_in_time() -> None:
    kept = Kept(seconds=10)
    kept.keep("a", "ann", ITEMS, 0.0)
    assert kept.recall("a", "ann", 9.9) == ITEMS
    assert kept.recall("a", "ann", 10.0) is None
    kept.keep("b", "ann", ITEMS, 20.0)
    assert len(kept) == 1


def test_the_oldest_go_first() -> None:
    kept = Kept(most=2)
    for name in "abc":
        kept.keep(name, "ann", ITEMS, 0.0)
    assert [kept.recall(name, "ann", 0.0) is None for name in "abc"] == [True, False, False]
    kept = Kept(most_bytes=2 * SIZE)
    for name in "abc":
        kept.keep(name, "ann", ITEMS, 0.0)
    assert [kept.recall(name, "ann", 0.0) is None for name in "abc"] == [True, False, False]


def test_what_is_too_large_for_all_is_not_kept() -> None:
    kept = Kept(most_bytes=SIZE - 1)
    assert not kept.keep("a", "ann", ITEMS, 0.0)
    assert kept.recall("a", "ann", 0.0) is None


@given(
    puts=st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 40), st.floats(0, 5)), max_size=40
    )
)
def test_the_bounds_always_hold(puts: list[tuple[str, int, float]]) -> None:
    kept = Kept(seconds=10, most=3, most_bytes=120)
    now = 0.0
    for name, size, later in puts:
        now += later
        items = [{"role": "user", "content": "x" * size}]
        assert kept.keep(name, "ann", items, now)
        assert kept.recall(name, "ann", now) == items
        assert len(kept) <= 3
        assert kept._bytes == sum(len(one.body) for one in kept._entries.values()) <= 120
