"""The fleet's decisions: a table of moments, and what holds in every world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engines.decision import Decision, decide
from server.engines.occupant import Occupant, Phase, Room
from server.engines.transition import after, settled, transition
from server.engines.turn import SHORTEST

GPU = "GPU-0"


def model(name: str, size: int = 6, phase: str = "off", **more: Any) -> Occupant:
    needs = more.pop("needs", {GPU: size})
    values = {"devices": frozenset(needs), "served": 100.0, "idle": 100.0} | more
    return Occupant(name, needs, phase=phase, **values)  # type: ignore[arg-type]


def ready(name: str, size: int = 6, **more: Any) -> Occupant:
    return model(name, size, "ready", **more)


def asked(name: str, size: int = 6, **more: Any) -> Occupant:
    return model(name, size, **({"waiting": 1} | more))


def said(*occupants: Occupant, capacity: int = 10, ram: int = 10) -> list[str]:
    found = decide(occupants, {GPU: capacity, "ram": ram})
    return [f"{action.kind} {action.name}" for action in found.actions]


SLEEPY: dict[str, Any] = {"needs": {GPU: 6, "ram": 1}, "asleep": {GPU: 1, "ram": 5}}


@pytest.mark.parametrize(
    ("occupants", "actions"),
    [
        pytest.param([model("a", wanted=True)], ["start a"], id="a resident starts"),
        pytest.param([model("a")], [], id="what nobody wants does not"),
        pytest.param([asked("a")], ["start a"], id="a request loads on demand"),
        pytest.param([model("a", urgent=True)], ["start a"], id="so does somebody"),
        pytest.param([asked("a", phase="failed")], [], id="what has failed stays down"),
        pytest.param(
            [model("a", 3, wanted=True), model("b", 3, wanted=True)],
            ["start a"],
            id="one start at a time on a device",
        ),
        pytest.param(
            [model("a", 3, "starting"), asked("b", 3)], [], id="also beside one that is starting"
        ),
        pytest.param(
            [model("a", 3, "starting"), asked("b", needs={"ram": 3})],
            ["start b"],
            id="two devices start at once",
        ),
        pytest.param([ready("a"), asked("b")], ["stop a"], id="an idle one makes room"),
        pytest.param([ready("a", running=1), asked("b")], [], id="a busy one does not"),
        pytest.param([ready("a", pinned=True), asked("b")], [], id="nor a pinned one"),
        pytest.param(
            [ready("a", running=1, draining=True), asked("b")], [], id="drained it still runs"
        ),
        pytest.param(
            [ready("a", waiting=3, draining=True), asked("b")],
            ["stop a"],
            id="drained and quiet it goes, whoever waits",
        ),
        pytest.param(
            [model("a", 6, "stopping"), asked("b")], [], id="its memory is waited for"
        ),
        pytest.param(
            [model("a", 6, "stopping"), ready("c", 3), asked("b")],
            [],
            id="and nobody else goes meanwhile",
        ),
        pytest.param(
            [ready("a", 6, demand=9.0), ready("c", 4, demand=0.1), asked("b", 4)],
            ["stop c"],
            id="the least in demand goes",
        ),
        pytest.param(
            [ready("a", 4, load_seconds=60), ready("c", 4, load_seconds=1), asked("b", 4)],
            ["stop c"],
            id="the one that loads fastest goes",
        ),
        pytest.param(
            [ready("a", 4, idle=5), ready("c", 4, idle=50), asked("b", 4)],
            ["stop c"],
            id="the one idle longest goes",
        ),
        pytest.param(
            [ready("a", 2), ready("c", 2), ready("d", 6), asked("b", 6)],
            ["stop d"],
            id="one goes rather than two",
        ),
        pytest.param(
            [ready("a", 5), ready("c", 5), asked("b", 10)],
            ["stop a", "stop c"],
            id="two go where one is not enough",
        ),
        pytest.param(
            [ready("a", 5), ready("c", 5, running=1), asked("b", 10)],
            [],
            id="nobody goes in vain",
        ),
        pytest.param([ready("a", **SLEEPY), asked("b")], ["sleep a"], id="asleep rather than gone"),
        pytest.param(
            [ready("a", **SLEEPY), asked("b", 10)], ["stop a"], id="gone where sleep is not enough"
        ),
        pytest.param(
            [ready("a", **SLEEPY), ready("c", needs={"ram": 8}, running=1), asked("b")],
            ["stop a"],
            id="gone where RAM has no room for a sleeper",
        ),
        pytest.param(
            [asked("a", phase="asleep", **SLEEPY)], ["wake a"], id="a sleeper is woken by a request"
        ),
        pytest.param(
            [model("a", phase="asleep", wanted=True, **SLEEPY)], [], id="and by nothing else"
        ),
        pytest.param(
            [ready("b"), asked("a", phase="asleep", **SLEEPY)],
            ["stop b"],
            id="room is made for a sleeper",
        ),
        pytest.param([ready("a", ttl=60, idle=61)], ["stop a"], id="idle for its ttl"),
        pytest.param([ready("a", ttl=60, idle=61, pinned=True)], [], id="a pinned one has none"),
        pytest.param([ready("a", ttl=60, idle=61, running=1)], [], id="one that runs is not idle"),
        pytest.param([ready("a", ttl=60, idle=61, waiting=1)], [], id="nor one waited for"),
        pytest.param([ready("a", ttl=60, idle=59)], [], id="not idle for long enough"),
        pytest.param([ready("a", ttl=0, **SLEEPY)], ["sleep a"], id="idle sleepers sleep"),
        pytest.param([ready("a", leaving=True)], ["stop a"], id="no longer planned"),
        pytest.param([ready("a", leaving=True, running=1)], [], id="it may finish"),
        pytest.param([ready("a", leaving=True, waiting=1)], [], id="all of it"),
        pytest.param(
            [ready("a", leaving=True, waiting=2), model("a", 3, waiting=2)],
            ["stop a"],
            id="those who wait are left to its successor",
        ),
        pytest.param(
            [model("a", 3, "stopping", leaving=True), asked("a", 3)],
            [],
            id="which waits for its end",
        ),
        pytest.param([ready("a", unload=True)], ["stop a"], id="unloaded"),
        pytest.param([ready("a", unload=True, running=1)], [], id="unloaded when quiet"),
        pytest.param(
            [model("p", 8, wanted=True, pinned=True), ready("a")], ["stop a"], id="pinned first"
        ),
        pytest.param(
            [ready("a"), model("r", wanted=True)], [], id="a resident evicts nobody by itself"
        ),
        pytest.param(
            [asked("a", waited=1), asked("b", waited=9)], ["start b"], id="who waits longest first"
        ),
        pytest.param(
            [model("a", 6, "starting"), asked("b")], ["stop a"], id="a needless load gives way"
        ),
        pytest.param(
            [model("a", 6, "starting", waiting=1), asked("b")], [], id="one that is waited for not"
        ),
    ],
)  # fmt: skip
def test_what_is_done(occupants: list[Occupant], actions: list[str]) -> None:
    assert said(*occupants) == actions


def test_a_busy_one_is_drained_when_its_turn_is_over() -> None:
    capacity = {GPU: 10}
    early = decide([ready("a", running=1, served=0.5), asked("b")], capacity)
    assert (early.draining, early.again) == (frozenset(), SHORTEST - 0.5)
    slow = decide([ready("a", running=1, served=9.0, load_seconds=30), asked("b")], capacity)
    assert (slow.draining, slow.again) == (frozenset(), 21.0)
    over = decide([ready("a", running=1), asked("b")], capacity)
    assert (over.draining, over.again) == (frozenset({"a"}), None)
    assert dict(over.waits) == {"b": "room: a to finish"}
    assert decide([ready("a", running=1, draining=True)], capacity).draining == frozenset()


def test_all_that_are_in_the_way_go_on_until_the_last_has_had_its_turn() -> None:
    capacity = {GPU: 10}
    over, young = ready("a", 5, running=1), ready("b", 5, running=1, served=1.5)
    found = decide([over, young, asked("c", 10)], capacity)
    assert (found.draining, found.again) == (frozenset(), SHORTEST - 1.5)
    both = decide([over, replace(young, served=3.0), asked("c", 10)], capacity)
    assert both.draining == {"a", "b"}


def test_an_idle_one_is_kept_for_the_request_that_is_expected() -> None:
    capacity = {GPU: 10}
    kept = ready("a", served=0.5, idle=0.2, load_seconds=5.0, pause=0.5)
    found = decide([kept, asked("b")], capacity)
    assert (found.actions, found.draining) == ((), frozenset())
    assert found.again == pytest.approx(1.9)
    assert said(kept, ready("c", 4), asked("b", 4)) == ["stop c"], "who is not kept goes before"
    assert said(kept, asked("b", pinned=True)) == []
    assert said(replace(kept, idle=2.1), asked("b")) == ["stop a"]


def test_what_can_never_fit_is_refused_with_who_stays() -> None:
    found = decide([ready("p", 6, pinned=True), ready("a", 3), asked("b", 5)], {GPU: 10})
    (refusal,) = found.refusals
    assert (refusal.name, refusal.short, refusal.stay) == ("b", {GPU: 1}, ("p",))
    (alone,) = decide([asked("b", 11)], {GPU: 10}).refusals
    assert (alone.short, alone.stay) == ({GPU: 1}, ())


def test_an_evicted_resident_comes_back_an_evicted_guest_does_not() -> None:
    for resident, kinds in ((True, ["stop r", "start b"]), (False, ["stop r", "start b"])):
        world = [ready("r", resident=resident, wanted=True), asked("b")]
        done = transition(world, {GPU: 10})
        assert [f"{a.kind} {a.name}" for a in done] == kinds
        (stop,) = decide(world, {GPU: 10}).actions
        assert after(world[0], [stop]).wanted is resident


def test_a_change_of_plan_from_its_first_action_to_its_last() -> None:
    world = [
        ready("old", 5, leaving=True),
        ready("moved", 4, leaving=True),
        model("moved", needs={"ram": 4}, wanted=True),
        ready("kept", 1, wanted=True),
        model("new", 9, wanted=True),
    ]
    done = [(a.kind, a.name) for a in transition(world, {GPU: 10, "ram": 10})]
    assert done[:2] == [("stop", "old"), ("stop", "moved")]
    assert sorted(done[2:]) == [("start", "moved"), ("start", "new")]


memories = st.dictionaries(st.sampled_from(["g", "h", "ram"]), st.integers(1, 8), min_size=1)


@st.composite
def occupants(draw: st.DrawFn) -> Occupant:
    needs = draw(memories)
    phases: list[Phase] = ["off", "off", "ready", "ready", "starting", "stopping", "failed"]
    phase = draw(st.sampled_from(phases))
    sleeps = draw(st.booleans())
    runs = phase == "ready"
    return Occupant(
        draw(st.uuids()).hex,
        needs,
        devices=frozenset(needs),
        phase=phase,
        asleep={"ram": draw(st.integers(1, 8))} if sleeps else None,
        pinned=draw(st.booleans()),
        resident=draw(st.booleans()),
        wanted=draw(st.booleans()),
        urgent=phase == "off" and draw(st.booleans()),
        unload=phase in ("ready", "starting") and draw(st.integers(0, 9)) == 0,
        running=draw(st.integers(0, 2)) if runs else 0,
        waiting=draw(st.integers(0, 2)),
        served=draw(st.floats(0, 10)),
        idle=draw(st.floats(0, 10)),
        ttl=draw(st.none() | st.floats(0, 10)),
        demand=draw(st.floats(0, 10)),
        load_seconds=draw(st.floats(0.1, 60)),
    )


capacities = st.fixed_dictionaries(dict.fromkeys(["g", "h", "ram"], st.integers(4, 16)))


def fitting(world: Sequence[Occupant], capacity: dict[str, int]) -> list[Occupant]:
    """`world` with those off that do not fit beside the ones before them."""
    found: list[Occupant] = []
    for one in world:
        room = Room.beside(found, capacity)
        found.append(one if room.holds(one.holds) else replace(one, phase="off", running=0))
    return found


def overdrawn(world: Sequence[Occupant], capacity: dict[str, int]) -> bool:
    return any(size < 0 for size in Room.beside(world, capacity).free.values())


@settings(max_examples=80)
@given(st.lists(occupants(), max_size=6), capacities, st.randoms(use_true_random=False))
def test_in_every_order_of_events_the_rules_hold(
    world: list[Occupant], capacity: dict[str, int], random: Random
) -> None:
    world = fitting(world, capacity)
    for _ in range(12):
        decision = decide(world, capacity)
        check(world, decision)
        world = [after(one, decision.actions) for one in world]
        assert not overdrawn(world, capacity)
        world = [happens(one, decision, random) for one in world]
        assert not overdrawn(world, capacity)


def check(world: Sequence[Occupant], decision: Decision) -> None:
    by_name = {one.name: one for one in world}
    starting = [one for one in world if one.phase == "starting"]
    for action in decision.actions:
        one = by_name[action.name]
        if action.kind in ("stop", "sleep"):
            assert one.running == 0
            assert one.draining or one.unload or not one.asked
            assert one.unload or not one.pinned
        else:
            assert one.phase in ("off", "asleep"), "what has failed stays down"
            assert all(not one.devices & other.devices for other in starting)
            starting.append(one)
    assert len({action.name for action in decision.actions}) == len(decision.actions)
    assert not {n for n in decision.draining if by_name[n].pinned and not by_name[n].unload}
    assert decision.again is None or decision.again > 0


def happens(one: Occupant, decision: Decision, random: Random) -> Occupant:
    """What may become of an engine, its queue and its clients before the next decision."""
    one = replace(one, draining=one.name in decision.draining and one.phase == "ready")
    if random.random() < 0.6:
        one = settled(one)
    if one.phase == "starting" and random.random() < 0.1:
        one = replace(one, phase="failed")
    if one.phase == "ready":
        able = 0 if one.draining else min(2 - one.running, one.waiting)
        done = random.randint(0, one.running)
        one = replace(one, running=one.running + able - done, waiting=one.waiting - able)
    served = one.served + 1 if one.phase == "ready" else 0.0
    return replace(one, waiting=one.waiting + (random.random() < 0.2), served=served)


@settings(max_examples=60)
@given(st.lists(occupants(), max_size=6), capacities)
def test_a_transition_ends_and_fits_and_touches_nothing_in_vain(
    world: list[Occupant], capacity: dict[str, int]
) -> None:
    world = [replace(one, ttl=None) for one in fitting(world, capacity)]
    done = transition(world, capacity)
    stops = [a.name for a in done if a.kind == "stop"]
    starts = [a.name for a in done if a.kind == "start"]
    assert len(set(starts)) == len(starts), "nothing starts twice"
    assert len(set(stops)) == len(stops)
    if not any(one.asked or one.wanted or one.unload for one in world):
        assert done == ()


@settings(max_examples=60)
@given(st.lists(occupants(), max_size=5), capacities)
def test_who_is_asked_for_alone_gets_its_room(
    world: list[Occupant], capacity: dict[str, int]
) -> None:
    idle = [replace(one, running=0, waiting=0, urgent=False, wanted=False) for one in world]
    others = [one for one in fitting(idle, capacity) if one.phase in ("ready", "off")]
    wish = Occupant("wish", {"g": 4}, devices=frozenset("g"), phase="off", waiting=1)
    done = transition([*others, wish], capacity)
    pinned = sum(one.needs.get("g", 0) for one in others if one.pinned)
    assert ("start", "wish") in {(a.kind, a.name) for a in done} or pinned + 4 > capacity["g"]
