"""What is said of a plan is held to the truth by planning again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.errors import ConfigError, DoesNotFit
from server.planning.contradiction import check
from server.planning.demand import Demand, Wish
from server.planning.explanation import explain
from server.planning.options import options
from server.planning.placement import place
from server.planning.plan import Option, Plan, Rejection
from server.planning.rig import Rig
from server.store.layout import Missing
from server.units import GIB
from tests.planning.machines import CASES, KNOWN, Case
from tests.planning.puzzles import option, rig, wish

FAMILY = (
    option("large", 1, 14, rate=40),
    option("large", 1, 10, rate=50, build="q2", retention=0.9),
    option("middle", 1, 6, rate=90),
    option("small", 1, 2, rate=300),
    option("small", 0, 0, ram=2, rate=20),
)
ALL = Demand(tuple(wish(model) for model in ("large", "middle", "small")), auto=True)


def explained(at: Rig, demand: Demand = ALL) -> Plan:
    return explain(place(FAMILY, demand, at), FAMILY, demand, at)


def more(at: Rig, sizes: dict[str, int]) -> Rig:
    def larger(pool: str, free: int) -> int:
        return free + sizes.get(pool, 0)

    gpus = tuple(replace(gpu, free=larger(gpu.pool, gpu.free)) for gpu in at.gpus)
    return replace(at, gpus=gpus, ram=replace(at.ram, free=larger(at.ram.pool, at.ram.free)))


@pytest.mark.parametrize("gpus", [[15], [17], [15, 5]])
def test_what_is_said_to_help_helps(gpus: list[float]) -> None:
    at = rig(gpus, 8)
    plan = explained(at)
    assert plan.remedies
    for remedy in plan.remedies:
        better = place(FAMILY, ALL, more(at, dict(remedy.more)))
        assert better.objective > plan.objective
        assert " more " in remedy.text
        model = remedy.gains.split()[0]
        assert better.of(model) is not None


def test_a_build_that_is_too_large_says_what_it_lacks() -> None:
    at = rig([9], 8)
    short = {"GPU-0": 5 * GIB}
    why = Rejection("large:q4", "too large", "large", short=short)
    plan = explain(place(FAMILY, ALL, at, rejections=[why]), FAMILY, ALL, at)
    told = {(remedy.text, remedy.gains) for remedy in plan.remedies}
    assert ("5.0 GiB more on GPU 0", "large:q4 can be served") in told
    assert place(FAMILY, ALL, more(at, short)).of("large") is not None


@pytest.mark.integration
@pytest.mark.parametrize("hardware", ["1x4090+64G", "4060-Ti-16G+32G", "cpu+16G"])
def test_on_a_machine_what_is_said_to_help_helps(hardware: str) -> None:
    case = next(c for c in CASES if (c.hardware, c.wanted) == (hardware, "auto"))
    found, why = offered(case, case.rig)
    plan = place(found, case.demand, case.rig, rejections=why)
    remedies = explain(plan, found, case.demand, case.rig).remedies
    assert remedies
    for remedy in remedies:
        better = more(case.rig, dict(remedy.more))
        larger, _ = offered(case, better)
        after = place(larger, case.demand, better)
        assert after.objective > plan.objective
        model = remedy.gains.split()[0].partition(":")[0]
        assert after.of(model) is not None


def offered(case: Case, at: Rig) -> tuple[tuple[Option, ...], tuple[Rejection, ...]]:
    return options(
        case.catalogue,
        case.demand,
        at,
        lambda build: Missing(build, None, ()),
        held_only=False,
        engines=("llama-server", "vllm"),
        cuda=True,
    )


def test_a_remedy_names_the_device_and_the_bytes() -> None:
    (remedy,) = explained(rig([15], 8)).remedies
    assert remedy.text == "5.0 GiB more on GPU 0"
    assert remedy.gains == "middle stays resident instead of being loaded on demand"


def test_a_plan_that_has_everything_needs_nothing() -> None:
    assert explained(rig([60], 60)).remedies == ()


@pytest.mark.parametrize(
    ("gpus", "what", "loses"),
    [
        ([15], "large:q2 leads, 2 x 32768 tokens, 50 tokens/s", "8.0 points of capability"),
        ([9], "small:q4 leads, 2 x 32768 tokens, 300 tokens/s", "20.0 points of capability"),
    ],
)
def test_the_next_best_plan_says_what_it_would_lose(
    gpus: list[float], what: str, loses: str
) -> None:
    plan = explained(rig(gpus, 8))
    assert plan.next_best is not None
    assert plan.next_best.what == what
    assert loses in plan.next_best.loses


def test_without_an_alternative_there_is_no_next_best() -> None:
    only = (FAMILY[2],)
    demand = Demand((wish("middle"),), auto=False)
    at = rig([9], 8)
    assert explain(place(only, demand, at), only, demand, at).next_best is None


@pytest.mark.parametrize(
    ("gpus", "model", "binds"),
    [
        ([15], "large", "memory bandwidth of GPU 0"),
        ([12], "large", "memory of GPU 0"),
        ([15], "small", "memory of GPU 0"),
        ([], "small", "memory bandwidth of the CPU"),
    ],
)
def test_what_binds_is_named(gpus: list[float], model: str, binds: str) -> None:
    family = (*FAMILY[:1], replace(FAMILY[1], token_seconds=0.5), *FAMILY[2:])
    assigned = place(family, ALL, rig(gpus, 8)).of(model)
    assert assigned is not None
    assert assigned.binds == binds


def test_a_plan_as_json_has_all_of_it() -> None:
    plan = explained(rig([15], 8))
    data = plan.to_dict()
    assert [a["wish"] for a in data["assignments"]] == [a.wish.name for a in plan.assignments]
    assert data["proven"] is True
    assert data["next_best"]["loses"]
    assert data["remedies"][0]["more"]
    assert {pool["pool"] for pool in data["pools"]} == {"GPU-0", "ram"}
    assert data["objective"][3] == {"stage": "lead", "value": dict(plan.objective)["lead"]}


# Demands that cannot be met


def test_pins_that_do_not_fit_together_say_which_to_loosen() -> None:
    demand = Demand((wish("large", pin=True), wish("middle", pin=True, weight=0.5)), auto=False)
    with pytest.raises(DoesNotFit) as caught:
        place((FAMILY[0], FAMILY[2]), demand, rig([15], 2))
    assert caught.value.what == "large, middle cannot all be resident at once"
    assert "they need 20.0 GiB at the least, 17.0 GiB are free" in caught.value.why
    assert "3.0 GiB are missing" in caught.value.why
    assert "if none of them is pinned" in caught.value.next_step


def test_pins_that_fit_only_in_sum_say_so() -> None:
    demand = Demand((wish("middle", pin=True), wish("small", pin=True)), auto=False)
    with pytest.raises(DoesNotFit, match="no arrangement") as caught:
        place((option("middle", 1, 6), option("small", 1, 2)), demand, rig([7], 8))
    assert "if none of them is pinned" in caught.value.next_step


def test_a_full_disk_says_what_to_leave_out() -> None:
    absent = (option("large", 1, 14, held=False), option("middle", 1, 6, held=False))
    demand = Demand((wish("large"), wish("middle", weight=0.5)), auto=False)
    with pytest.raises(DoesNotFit, match=r"the disk has room for 15\.0 GiB more") as caught:
        place(absent, demand, rig([60], 8, disk=15))
    assert caught.value.next_step == "It fits without middle"


def wished(name: str, **values: object) -> Wish:
    model, _, build = name.partition(":")
    made = wish(model, build=build or None)
    return replace(made, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ((wished("qwen3.5-9b:q4_k_m", engines=("vllm",)),), "engines: allows vllm only"),
        ((wished("qwen3.5-9b", context=500_000),), "500000 is more than the model's 262144"),
        ((wished("qwen3.5-9b", context_limit=2048),), "at least 4096 and at most 2048"),
        ((wished("qwen3.5-9b", slots=4, slots_limit=2),), "at least 4 and at most 2"),
        ((wished("qwen3.5-9b", pin=True, ttl=60.0),), "pin: it never goes, but ttl"),
        ((wished("qwen3.5-9b"), wished("qwen3.5-9b")), "is demanded twice"),
    ],
)
def test_a_demand_that_contradicts_itself_is_the_configurations_fault(
    wishes: tuple[Wish, ...], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(KNOWN, Demand(wishes, auto=False))
    assert any(told in problem for problem in caught.value.problems)
