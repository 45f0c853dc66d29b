from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.json_body import MAX_CONTAINERS, MAX_MEMBERS
from server.chat.responses import Kept, parse_response
from server.errors import RequestError
from server.units import MIB

BEFORE = [{"role": "user", "content": "hi"}]
SAID = {"type": "message", "role": "assistant", "content": []}


def response(name: str, said: Any = SAID) -> dict[str, Any]:
    return {"id": name, "output": [said]}


SIZE = len(orjson.dumps(BEFORE)) + len(orjson.dumps(response("a")))


def test_what_is_kept_comes_back_to_its_owner_alone() -> None:
    kept = Kept()
    assert kept.keep("ann", BEFORE, response("a"), 0.0)
    assert kept.recall("a", "ann", 1.0) == [*BEFORE, SAID]
    assert kept.before("a", "ann", 1.0) == BEFORE
    assert orjson.loads(kept.response("a", "ann", 1.0) or b"") == response("a")
    for name, owner in (("a", "bob"), ("b", "ann")):
        assert kept.recall(name, owner, 1.0) is None
        assert kept.before(name, owner, 1.0) is None
        assert kept.response(name, owner, 1.0) is None
        assert not kept.forget(name, owner, 1.0)
    assert len(kept) == 1


def test_it_cannot_be_changed_from_outside() -> None:
    kept = Kept()
    before = [dict(BEFORE[0])]
    kept.keep("ann", before, response("a"), 0.0)
    before[0]["content"] = "x"
    found = kept.before("a", "ann", 0.0)
    assert found == BEFORE
    found[0]["content"] = "y"
    assert kept.before("a", "ann", 0.0) == BEFORE


def test_it_is_forgotten_in_time() -> None:
    kept = Kept(seconds=10)
    kept.keep("ann", BEFORE, response("a"), 0.0)
    assert kept.recall("a", "ann", 9.9) is not None
    assert kept.recall("a", "ann", 10.0) is None
    assert not kept.forget("a", "ann", 10.0)
    kept.keep("ann", BEFORE, response("b"), 20.0)
    assert len(kept) == 1


def test_it_is_forgotten_when_its_owner_says_so() -> None:
    kept = Kept()
    kept.keep("ann", BEFORE, response("a"), 0.0)
    assert kept.forget("a", "ann", 1.0)
    assert not kept.forget("a", "ann", 1.0)
    assert kept.recall("a", "ann", 1.0) is None
    assert (len(kept), kept._bytes) == (0, 0)


def test_the_oldest_go_first() -> None:
    for kept in (Kept(most=2), Kept(most_bytes=2 * SIZE)):
        for name in "abc":
            kept.keep("ann", BEFORE, response(name), 0.0)
        assert [kept.recall(name, "ann", 0.0) is None for name in "abc"] == [True, False, False]


def test_what_is_too_large_for_all_is_not_kept() -> None:
    kept = Kept(most_bytes=SIZE - 1)
    assert not kept.keep("ann", BEFORE, response("a"), 0.0)
    assert kept.recall("a", "ann", 0.0) is None


def test_a_conversation_is_kept_while_it_is_no_longer_than_a_body() -> None:
    kept = Kept()

    def recall(name: str) -> Any:
        return kept.recall(name, "ann", 0.0)

    asked = {"model": "m", "input": "x" * (20 * MIB)}
    first = parse_response(asked, recall)
    assert kept.keep("ann", first.items, response("a"), 0.0)
    second = parse_response({**asked, "previous_response_id": "a"}, recall)
    assert len(second.items) == 3
    assert not kept.keep("ann", second.items, response("b"), 0.0)
    assert len(kept) == 1
    with pytest.raises(RequestError, match="no longer kept") as caught:
        parse_response({**asked, "previous_response_id": "b"}, recall)
    assert caught.value.param == "previous_response_id"


@pytest.mark.parametrize("said", [[{}] * (MAX_CONTAINERS // 2), [0] * (MAX_MEMBERS // 2)])
def test_nor_is_it_kept_where_it_is_more_branched(said: list[Any]) -> None:
    kept = Kept()
    before = [{"type": "message", "role": "user", "content": "x", "more": said}]
    assert kept.keep("ann", before, response("a"), 0.0)
    assert not kept.keep("ann", before * 2, response("b"), 0.0)
    assert not kept.keep("ann", before, response("b", {"more": said}), 0.0)


def test_what_may_not_leave_is_known_to_be_so() -> None:
    kept = Kept()
    for name, private in (("a", True), ("b", False)):
        kept.keep("ann", BEFORE, response(name), 0.0, private=private)
        assert kept.private(name, "ann", 0.0) == private
        assert not kept.private(name, "bob", 0.0)
    assert not kept.private("c", "ann", 0.0)


@given(
    puts=st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 40), st.floats(0, 5)), max_size=40
    )
)
def test_the_bounds_always_hold(puts: list[tuple[str, int, float]]) -> None:
    kept = Kept(seconds=10, most=3, most_bytes=200)
    now = 0.0
    for name, size, later in puts:
        now += later
        before = [{"role": "user", "content": "x" * size}]
        assert kept.keep("ann", before, response(name, {}), now)
        assert kept.recall(name, "ann", now) == [*before, {}]
        assert len(kept) <= 3
        assert kept._bytes == sum(one.size for one in kept._entries.values()) <= 200
