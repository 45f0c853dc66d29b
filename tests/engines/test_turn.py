"""Turns: who keeps its place for how long, that it is worth it, and that nobody starves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engines.occupant import Occupant
from server.engines.rhythm import Rhythm
from server.engines.turn import LONGEST, SHORTEST, keeps
from tests.engines.world import Client, World

BUSY: dict[str, Any] = {"running": 1}
COMING: dict[str, Any] = {"pause": 1.0}


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        pytest.param(BUSY | {"load_seconds": 30, "served": 9}, 21, id="as long as it loaded"),
        pytest.param({"waiting": 2, "load_seconds": 30, "served": 9}, 21, id="who waits counts"),
        pytest.param(BUSY | {"load_seconds": 0.1}, SHORTEST, id="but not too short"),
        pytest.param(BUSY | {"load_seconds": 4000}, LONGEST, id="nor too long"),
        pytest.param(
            BUSY | {"load_seconds": 60, "wake_seconds": 3, "woken": True}, 3, id="or woke"
        ),
        pytest.param(BUSY | {"load_seconds": 30, "served": 31}, 0, id="its turn is over"),
        pytest.param(BUSY | {"phase": "starting"}, 0, id="it has none before it is ready"),
        pytest.param(BUSY | {"draining": True}, 0, id="nor when it drains"),
        pytest.param(BUSY | {"unload": True}, 0, id="nor when it is to end"),
        pytest.param(BUSY | {"leaving": True}, 0, id="nor when it is not planned"),
        pytest.param({"load_seconds": 30}, 0, id="nobody is expected"),
        pytest.param(COMING | {"load_seconds": 30}, 4.1, id="somebody is"),
        pytest.param(COMING | {"load_seconds": 30, "idle": 3}, 1.1, id="still"),
        pytest.param(COMING | {"load_seconds": 30, "idle": 4.5}, 0, id="no longer"),
        pytest.param(COMING | {"load_seconds": 3, "idle": 0.5}, 2.5, id="not longer than a load"),
        pytest.param({"pause": 8, "load_seconds": 3}, 0, id="a load is quicker"),
        pytest.param({"pause": 20, "load_seconds": 30, "served": 12}, 0, id="only after its turn"),
        pytest.param({"pause": 20, "load_seconds": 30, "served": 12, "idle": 5}, 18, id="before"),
    ],
)  # fmt: skip
def test_for_how_long_it_keeps_its_place(changes: dict[str, Any], seconds: float) -> None:
    values = {"name": "a", "needs": {}, "devices": frozenset(), "phase": "ready"} | changes
    assert keeps(Occupant(**values)) == pytest.approx(seconds)


def test_a_pause_is_known_when_an_eviction_was_regretted_and_as_long_as_that_holds() -> None:
    rhythm = Rhythm()
    rhythm.resume(5.0, loaded=True)
    assert rhythm.pause is None, "nobody else wanted its place: it tells nothing"
    rhythm.rest()
    rhythm.resume(1.0, loaded=False)
    assert rhythm.pause == 1.0
    rhythm.resume(2.0, loaded=True)
    assert rhythm.pause == 1.25
    rhythm.overtake()
    rhythm.rest()
    rhythm.resume(2.25, loaded=True)
    assert rhythm.pause == 1.5, "what became ready while it ran does not count"
    rhythm.overtake()
    rhythm.resume(1.0, loaded=False)
    assert rhythm.pause is None, "this one may have waited for the other's answer"


def both(
    models: list[tuple[float, int]], clients: list[Client], seconds: float, **more: Any
) -> tuple[World, World]:
    """The same clients in a world that expects next requests, and in one that does not."""
    now = World(models, 10, **more).run(clients, seconds)
    return now, World(models, 10, anticipates=False, **more).run(clients, seconds)


@pytest.mark.parametrize(("load", "think"), [(10.0, 0.05), (0.3, 0.01), (60.0, 5.0)])
def test_two_clients_of_two_models_no_longer_swap_at_each_request(
    load: float, think: float
) -> None:
    clients = [Client((0,), think, 0.5), Client((1,), think, 0.5)]
    now, before = both([(load, 6)] * 2, clients, 200 * load)
    assert before.loads == pytest.approx(before.served, abs=2), "one load for each request"
    assert now.loads < now.served / 2
    assert now.served > 1.3 * before.served


def test_one_client_that_asks_two_models_in_turn_waits_for_none_in_vain() -> None:
    for models in ([(10.0, 6), (10.0, 6)], [(60.0, 6), (1.0, 6)]):
        now, before = both(models, [Client((0, 1), 0.1, 1.0)], 2000)
        assert (now.served, now.longest_wait) == (before.served, before.longest_wait)


def test_three_in_constant_use_all_have_their_turn() -> None:
    clients = [Client((n % 3,), 0.0, 0.5) for n in range(12)]
    now = World([(5.0, 6)] * 3, 10).run(clients, 600)
    per_turn = 5.0 + 5.0 + 0.5 + 0.1
    assert now.longest_wait <= 3 * per_turn


loads = st.sampled_from([0.2, 1.0, 5.0, 20.0])
thinks = st.sampled_from([0.0, 0.05, 0.5, 3.0, 20.0])
services = st.sampled_from([0.5, 5.0])
fleets = st.lists(st.tuples(loads, st.integers(3, 10)), min_size=2, max_size=4)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[tuple[float, int]], list[Client]]:
    models = draw(fleets)
    asked = st.lists(st.integers(0, len(models) - 1), min_size=1, max_size=3).map(tuple)
    clients = draw(st.lists(st.builds(Client, asked, thinks, services), min_size=1, max_size=6))
    return models, clients


@settings(max_examples=20)
@given(crowds())
def test_nobody_starves(crowd: tuple[list[tuple[float, int]], list[Client]]) -> None:
    models, clients = crowd
    slowest = max(client.service for client in clients)
    found = World(models, 10, slots=6).run(clients, 200)
    # A turn and a load of each model, the answers that run when a turn ends, and the stops.
    bound = sum(load + max(SHORTEST, load) + slowest + 0.1 for load, _ in models)
    assert found.longest_wait <= bound


@settings(max_examples=20)
@given(crowds())
def test_no_more_of_the_time_goes_into_loading(
    crowd: tuple[list[tuple[float, int]], list[Client]],
) -> None:
    models, clients = crowd
    now, before = both(models, clients, 200)
    assert now.loading <= before.loading + sum(load for load, _ in models)


@settings(max_examples=20)
@given(st.lists(loads, min_size=2, max_size=4), thinks, services)
def test_never_fewer_are_served_where_each_model_has_its_client(
    times: list[float], think: float, service: float
) -> None:
    models = [(load, 6) for load in times]
    clients = [Client((n,), think, service) for n in range(len(models))]
    now, before = both(models, clients, 300)
    assert now.served >= before.served - len(models), "but for those under way in the end"
