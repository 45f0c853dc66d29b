"""Who makes room: the cheapest set, never one too many."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engines.eviction import Eviction, evict, evictable
from server.engines.occupant import Memory, Occupant, Room


def idle(name: str, needs: Memory, **more: object) -> Occupant:
    return Occupant(name, needs, frozenset(needs), "ready", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "now", "later"),
    [
        ({}, True, True),
        ({"running": 1}, False, True),
        ({"waiting": 1}, False, True),
        ({"urgent": True}, False, True),
        ({"waiting": 1, "draining": True}, True, True),
        ({"running": 1, "draining": True}, False, True),
        ({"pinned": True}, False, False),
        ({"phase": "stopping"}, False, False),
        ({"phase": "off"}, False, False),
        ({"phase": "asleep"}, True, True),
    ],
)
def test_who_may_go(changes: dict[str, object], now: bool, later: bool) -> None:
    one = Occupant(**{"name": "a", "needs": {}, "devices": frozenset(), "phase": "ready"} | changes)  # type: ignore[arg-type]
    assert (evictable(one), evictable(one, later=later)) == (now, later)


def test_many_candidates_are_decided_by_price_and_none_goes_in_vain() -> None:
    crowd = [idle(f"m{number}", {"g": 1}, demand=number) for number in range(20)]
    crowd.append(idle("large", {"g": 5}, demand=2.5))
    gone = evict({"g": 4}, Room({"g": 0}), crowd)
    assert gone is not None
    assert [way.occupant.name for way in gone] == ["large"]
    assert evict({"g": 26}, Room({"g": 0}), crowd) is None


sizes = st.dictionaries(st.sampled_from(["g", "h"]), st.integers(1, 6), min_size=1)


@settings(max_examples=80)
@given(
    st.lists(st.tuples(sizes, st.booleans(), st.floats(0, 9)), max_size=5),
    sizes,
    st.fixed_dictionaries({"g": st.integers(0, 4), "h": st.integers(0, 4)}),
)
def test_no_cheaper_set_would_do(
    crowd: list[tuple[dict[str, int], bool, float]], needs: dict[str, int], free: dict[str, int]
) -> None:
    others = [
        idle(str(number), size, demand=demand, asleep={"g": 0, "ram": 0} if sleeps else None)
        for number, (size, sleeps, demand) in enumerate(crowd)
    ]
    room = Room(free)
    gone = evict(needs, room, others)
    best = min(
        (
            sum(way.cost[0] for way in chosen)
            for chosen in every(others)
            if fits(needs, room, chosen)
        ),
        default=None,
    )
    if gone is None:
        assert best is None
        return
    assert fits(needs, room, gone)
    assert best == pytest.approx(sum(way.cost[0] for way in gone))
    for fewer in combinations(gone, max(0, len(gone) - 1)):
        assert not gone or not fits(needs, room, fewer)


def every(others: list[Occupant]) -> list[tuple[Eviction, ...]]:
    ways: list[tuple[Eviction | None, ...]] = [
        (None, Eviction(one, "stop"), *([Eviction(one, "sleep")] if one.asleep else []))
        for one in others
    ]
    return [tuple(way for way in chosen if way) for chosen in product(*ways)]


def fits(needs: Memory, room: Room, chosen: tuple[Eviction, ...]) -> bool:
    return room.more(*(way.frees for way in chosen)).holds(needs)
