"""Plans against the truth: an exhaustive search on small problems, and what must hold on all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import DoesNotFit
from server.planning.demand import Demand, Wish
from server.planning.greedy import greedy
from server.planning.options import options
from server.planning.placement import place, solve
from server.planning.plan import Option, Plan, Rejection
from server.planning.rig import Rig
from server.planning.room import Seat, fits, score
from server.planning.worth import shares
from server.store.layout import Missing
from server.units import GIB
from tests.planning.machines import CASES, Case
from tests.planning.puzzles import Puzzle, option, puzzles, rig, wish

calm = settings(max_examples=30)


def seats_of(plan: Plan, demand: Demand, offered: tuple[Option, ...]) -> list[Seat]:
    """The plan's assignments as the books count them."""
    parts = dict(zip(demand.wishes, shares(demand, offered), strict=True))
    seats = []
    for a in plan.assignments:
        on_demand = "in turn" if a.evicts else "beside"
        mode = on_demand if a.residency == "on demand" else a.residency
        seats.append(Seat(a.wish, parts[a.wish], a.option, mode))  # type: ignore[arg-type]
    return seats


def check(plan: Plan, demand: Demand, at: Rig, offered: tuple[Option, ...]) -> None:
    """What holds of every plan, counted in bytes from the assignments alone."""
    seats = seats_of(plan, demand, offered)
    assert fits(seats, at)
    used = dict.fromkeys(at.pools(), 0)
    for a in plan.assignments:
        taken = {"resident": a.option.footprint, "asleep": a.option.asleep}.get(a.residency)
        for share in taken.shares if taken else ():
            used[at.device(share.device).pool] += share.bytes
        assert a.option.speed.decode >= a.wish.speed
        assert a.option.deployment.context >= a.wish.context
        assert a.option.deployment.slots >= a.wish.slots
        assert a.option.deployment.engine in a.wish.engines
        assert a.reason
        assert a.binds
    for pool in plan.pools:
        assert used[pool.pool] <= at.pools()[pool.pool]
        assert pool.used >= used[pool.pool]
    served = [a.wish for a in plan.assignments]
    assert served == [w for w in demand.wishes if w in served]
    resident = {a.wish for a in plan.resident}
    assert resident >= {w for w in demand.wishes if w.pin}
    assert demand.auto or len(served) == len(demand.wishes)
    start = greedy(offered, demand, at)
    assert plan.objective >= score(start, demand, at)


# On machines and demands as people have them. Large machines take seconds each, and are planned
# with the integration tests.

_QUICK = ("cpu", "3060-8G+16G", "4090 with a full disk")


def cases() -> list[object]:
    quick = [case.hardware.startswith(_QUICK) for case in CASES]
    return [
        pytest.param(case, id=case.name, marks=[] if is_quick else [pytest.mark.integration])
        for case, is_quick in zip(CASES, quick, strict=True)
    ]


def offered(case: Case) -> tuple[tuple[Option, ...], tuple[Rejection, ...]]:
    return options(
        case.catalogue,
        case.demand,
        case.rig,
        lambda build: Missing(build, None, ()),
        held_only=False,
        engines=("llama-server", "vllm"),
        cuda=True,
    )


def planned(case: Case, found: tuple[Option, ...], why: tuple[Rejection, ...]) -> Plan | DoesNotFit:
    try:
        return place(found, case.demand, case.rig, rejections=why)
    except DoesNotFit as error:
        return error


@pytest.mark.parametrize("case", cases())
def test_a_plan_for_a_machine_is_possible_near_the_best_and_no_worse_than_greedy(
    case: Case,
) -> None:
    found, rejections = offered(case)
    plan = planned(case, found, rejections)
    if isinstance(plan, DoesNotFit):
        assert not case.demand.auto
        assert plan.why
        assert plan.next_step
        start = greedy(found, case.demand, case.rig)
        assert len(start) < len(case.demand.wishes) or "resident" in plan.what
        return
    check(plan, case.demand, case.rig, found)
    assert plan.proven == (plan.gap == 0)
    assert plan.gap < 0.02


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


# On small problems, against every plan there is


@given(puzzle=puzzles())
@calm
def test_no_plan_is_better(puzzle: Puzzle) -> None:
    found = solve(puzzle.options, puzzle.demand, puzzle.rig)
    best = puzzle.best()
    if found is None:
        assert best is None
        return
    assert found.proven
    assert fits(found.seats, puzzle.rig)
    assert score(found.seats, puzzle.demand, puzzle.rig) == best


@given(puzzle=puzzles())
@calm
def test_greedy_is_possible_and_never_better(puzzle: Puzzle) -> None:
    start = greedy(puzzle.options, puzzle.demand, puzzle.rig)
    assert fits(start, puzzle.rig)
    found = solve(puzzle.options, puzzle.demand, puzzle.rig)
    if found is None:
        assert len(start) < len(puzzle.demand.wishes) or any(
            seat.wish.pin and seat.mode != "resident" for seat in start
        )
    else:
        mine = score(found.seats, puzzle.demand, puzzle.rig)
        assert mine >= score(start, puzzle.demand, puzzle.rig)


@given(puzzle=puzzles(), pool=st.integers(0, 3), more=st.sampled_from([1, 4, 30]))
@calm
def test_more_memory_never_makes_a_plan_worse(puzzle: Puzzle, pool: int, more: int) -> None:
    at = puzzle.rig
    devices = [*at.gpus, at.ram]
    chosen = devices[pool % len(devices)]
    larger = replace(chosen, free=chosen.free + more * GIB)
    gpus = tuple(larger if gpu.id == chosen.id else gpu for gpu in at.gpus)
    ram = larger if chosen.id == at.ram.id else at.ram
    better = replace(at, gpus=gpus, ram=ram)
    before = solve(puzzle.options, puzzle.demand, at)
    after = solve(puzzle.options, puzzle.demand, better)
    if before is not None:
        assert after is not None
        assert score(after.seats, puzzle.demand, better) >= score(before.seats, puzzle.demand, at)


@given(puzzle=puzzles(), seed=st.randoms(use_true_random=False))
@calm
def test_the_same_question_has_the_same_answer(puzzle: Puzzle, seed: object) -> None:
    shuffled = list(puzzle.options)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    first = solve(puzzle.options, puzzle.demand, puzzle.rig)
    assert solve(shuffled, puzzle.demand, puzzle.rig) == first


@given(puzzle=puzzles())
@calm
def test_what_runs_stays_where_it_is(puzzle: Puzzle) -> None:
    found = solve(puzzle.options, puzzle.demand, puzzle.rig)
    if found is None:
        return
    running = [s.option.deployment for s in found.seats if s.mode == "resident"]
    again = solve(puzzle.options, puzzle.demand, puzzle.rig, running=running)
    assert again is not None
    assert {s.option.deployment for s in again.seats if s.mode == "resident"} == set(running)


# What a change changes

FAMILY = (
    option("large", 1, 14, build="q4"),
    option("large", 2, 8, build="q4"),
    option("middle", 1, 6),
    option("small", 1, 2),
    option("small", 0, 0, ram=2, rate=20),
)


def residents(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {a.wish.model: a.option.deployment.gpus for a in plan.resident}


def demanded(*wishes: Wish) -> Demand:
    return Demand(wishes, auto=False)


def test_a_new_model_moves_nothing_that_need_not_move() -> None:
    at = rig([24, 24], 32)
    before = place(FAMILY, demanded(wish("middle"), wish("small")), at)
    # As somebody might have left it: the one on the second GPU, the other on the first.
    moved = [
        replace(option("middle", 1, 6).deployment, gpus=("GPU-1",)),
        replace(option("small", 1, 2).deployment, gpus=("GPU-0",)),
    ]
    wanted = demanded(wish("large"), wish("middle"), wish("small"))
    after = place(FAMILY, wanted, at, running=moved)
    assert residents(after)["middle"] == ("GPU-1",)
    assert residents(after)["small"] == ("GPU-0",)
    assert set(residents(before)) == {"middle", "small"}
    kept = [a for a in after.assignments if "left as it is" in a.reason]
    assert [a.wish.model for a in kept] == ["middle", "small"]


def test_a_lost_gpu_moves_only_what_was_on_it() -> None:
    running = [
        replace(option("middle", 1, 6).deployment, gpus=("GPU-1",)),
        replace(option("small", 1, 2).deployment, gpus=("GPU-0",)),
    ]
    after = place(FAMILY, demanded(wish("middle"), wish("small")), rig([24], 32), running=running)
    assert residents(after) == {"middle": ("GPU-0",), "small": ("GPU-0",)}


def test_a_more_capable_model_is_worth_a_restart() -> None:
    running = [option("middle", 1, 6).deployment]
    both = (*FAMILY, option("middle", 0, 0, ram=6, rate=20))
    at = rig([15], 32)
    after = place(both, demanded(wish("large"), wish("middle")), at, running=running)
    assert residents(after) == {"large": ("GPU-0",), "middle": ()}


# Goals in their order


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ([24], {"large": 1, "middle": 1, "small": 1}),
        ([21], {"large": 1, "middle": 1, "small": 0}),
        ([15], {"large": 1, "small": 0}),
        ([9], {"middle": 1, "small": 1}),
        ([9, 9], {"large": 2, "small": 0}),
        ([14, 9], {"large": 1, "middle": 1, "small": 1}),
        ([], {"small": 0}),
    ],
)
def test_the_most_capable_leads_and_the_others_take_what_is_left(
    gpus: list[float], expected: dict[str, int]
) -> None:
    demand = Demand(tuple(wish(model) for model in ("large", "middle", "small")), auto=True)
    found = place(FAMILY, demand, rig(gpus, 32))
    assert {model: len(taken) for model, taken in residents(found).items()} == expected


def test_what_has_no_room_is_loaded_on_demand_and_says_what_makes_room() -> None:
    demand = demanded(wish("large"), wish("middle"))
    found = place(FAMILY[:3], demand, rig([15], 32))
    middle = found.of("middle")
    assert middle is not None
    assert middle.residency == "on demand"
    assert middle.evicts == ("large:q4",)
    assert "large:q4 makes room" in middle.reason


def test_what_is_pinned_is_resident_even_if_something_better_has_to_wait() -> None:
    demand = demanded(wish("large"), wish("middle", pin=True))
    wide = (*FAMILY, option("large", 0, 0, ram=14, rate=9))
    found = place(wide, demand, rig([15], 32))
    assert residents(found)["middle"] == ("GPU-0",)
    assert found.of("large") is not None


def test_the_engine_that_can_sleep_waits_in_ram() -> None:
    sleepy = option("middle", 1, 12, engine="vllm", rate=100)
    found = place((FAMILY[0], sleepy), demanded(wish("large"), wish("middle")), rig([20], 32))
    middle = found.of("middle")
    assert middle is not None
    assert middle.residency == "asleep"


def test_a_cache_in_fewer_bits_is_the_last_resort() -> None:
    small = option("middle", 1, 6, quantized=True, rate=90)
    slow = option("middle", 0, 0, ram=8, rate=9)
    demand = demanded(wish("middle"))
    (on_cpu,) = place((small, slow), demand, rig([7], 32)).assignments
    assert not on_cpu.option.deployment.quantized_cache
    (by_need,) = place((small, slow), demand, rig([7], 4)).assignments
    assert by_need.option.deployment.quantized_cache
    assert "its KV cache is kept in q8_0, as no build of four bits" in by_need.reason
    fast = demanded(wish("middle", speed=20.0))
    (by_speed,) = place((small, slow), fast, rig([7], 32)).assignments
    assert by_speed.option.deployment.quantized_cache


def test_where_so_much_context_is_asked_for_fewer_bits_of_cache_come_before_fewer_of_weights() -> (
    None
):
    rough = option("middle", 1, 6, build="q3", retention=0.957)
    fine = option("middle", 1, 6, build="q4", retention=0.983, quantized=True)
    asked = demanded(wish("middle", context=32_768))
    (long,) = place((rough, fine), asked, rig([7], 4)).assignments
    assert long.option == fine
    (short,) = place((rough, fine), demanded(wish("middle")), rig([7], 4)).assignments
    assert short.option == rough


def test_only_as_many_caches_as_must_be_are_in_fewer_bits() -> None:
    offered = (
        option("middle", 1, 9),
        option("middle", 1, 6, quantized=True, rate=90),
        option("small", 1, 4),
        option("small", 1, 3, quantized=True, rate=90),
    )
    both = demanded(wish("middle", pin=True), wish("small", pin=True))
    found = place(offered, both, rig([12], 4))
    kept = {a.wish.model: a.option.deployment.kv_type for a in found.assignments}
    assert kept in ({"middle": "q8_0", "small": "f16"}, {"middle": "f16", "small": "q8_0"})
    wide = place(offered, both, rig([14], 4))
    assert not any(a.option.deployment.quantized_cache for a in wide.assignments)


def test_ranks_stay_on_their_bridge_and_layers_go_wherever_there_is_room() -> None:
    plain = rig([20, 3, 20, 3], 4)
    bridged = {frozenset({"GPU-0", "GPU-1"}), frozenset({"GPU-2", "GPU-3"})}
    at = replace(
        plain,
        interconnects=tuple(
            replace(way, kind="nvlink") if {way.first, way.second} in bridged else way
            for way in plain.interconnects
        ),
    )
    ranks = option("middle", 2, 12, engine="vllm")
    layers = option("middle", 2, 12, rate=20)
    assert residents(place((ranks, layers), demanded(wish("middle")), plain)) == {
        "middle": ("GPU-0", "GPU-2")
    }
    found = place((ranks, layers), demanded(wish("middle")), at)
    assert residents(found) == {"middle": ("GPU-0", "GPU-2")}
    assert [a.option.deployment.engine for a in found.assignments] == ["llama-server"]


def test_unlike_amounts_of_free_memory_are_respected() -> None:
    found = place(FAMILY[:1], demanded(wish("large")), rig([3, 3, 20], 32))
    assert residents(found) == {"large": ("GPU-2",)}
