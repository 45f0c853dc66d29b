"""What `holdfast plan` sends comes back as the berths that the plan itself makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.engines.berth import berths, by_pool, starts
from server.engines.planned import planned_berths
from server.errors import RequestError
from server.planning.demand import Wish
from server.planning.deployment import Deployment
from server.planning.footprint.component import Footprint
from server.planning.plan import Assignment, Option, Plan, Residency
from server.planning.rig import Rig
from server.planning.speed import Speed

GIB = 1024**3

WISH = Wish("m", None, 2.0, 8192, 2, 0.0, False, 600.0, ("llama-server",))
FOOTPRINT = Footprint.of_bytes(
    [("GPU-1", "weights", 3 * GIB), ("GPU-1", "kv_cache", GIB), ("ram", "process", 5)]
)


def assignment(model: str, residency: Residency = "resident", **wish: Any) -> Assignment:
    deployment = Deployment(model, f"{model}:q8_0", "llama-server", ("GPU-1",), 16384, 4)
    asleep = Footprint.of_bytes([("ram", "weights", GIB)]) if residency == "asleep" else None
    speed = Speed(1000.0, 50.0, 90.0, "bandwidth")
    option = Option(deployment, FOOTPRINT, speed, 3 * GIB, 4.5, held=True, asleep=asleep)
    return Assignment(replace(WISH, model=model, **wish), option, residency, "", "")


PLAN = Plan(
    (
        assignment("a", pin=True, ttl=None),
        assignment("b", "asleep"),
        assignment("c", "on demand", weight=0.5),
    ),
    (), (), proven=True, gap=0.0, pools=(),
)  # fmt: skip


def test_a_plan_and_its_json_make_the_same_berths(rig: Rig) -> None:
    made = berths(PLAN, rig)
    assert planned_berths(PLAN.to_dict(), rig) == made
    assert [one.name for one in made] == ["b:q8_0", "a:q8_0", "c:q8_0"], "sleepers load first"
    sleeper, first, last = made
    assert first.needs == {"GPU-1": 4 * GIB, "ram": 5}
    assert (first.pin, first.ttl, first.asleep, first.load_seconds) == (True, None, None, 4.5)
    assert (sleeper.asleep, sleeper.ttl) == ({"ram": GIB}, 600.0)
    assert (last.weight, last.least_context, last.least_slots) == (0.5, 8192, 2)
    assert [starts(one) for one in made] == [True, True, False]
    assert first.devices == {"GPU-1"}


def test_preload_is_by_any_of_its_names(rig: Rig) -> None:
    for name in ("c", "c:q8_0"):
        assert [one.name for one in berths(PLAN, rig, frozenset({name})) if one.preload] == [
            "c:q8_0"
        ]
    assert starts(berths(PLAN, rig, frozenset({"c"}))[2])


def test_unified_memory_is_one_pool(rig: Rig) -> None:
    unified = replace(rig, gpus=(replace(rig.gpus[0], pool="ram"),))
    assert by_pool(FOOTPRINT, unified) == {"ram": 4 * GIB + 5}


def change(**values: Any) -> dict[str, Any]:
    plan = PLAN.to_dict()
    plan["assignments"][0] |= values
    return plan


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "no list of assignments"),
        ({"assignments": {"a": 1}}, "no list of assignments"),
        ({"assignments": ["a"]}, "assignments[0]: "),
        (change(residency="sometimes"), "'sometimes' is not one of resident, asleep, on demand"),
        (change(bytes={"GPU-7": {"weights": 1}}), "assignments[0] has no 'GPU-7'"),
        (change(bytes=5), "assignments[0]: "),
        (change(ttl="soon"), "assignments[0]: "),
        (change(deployment={"model": "a"}), "assignments[0]: "),
        (change(deployment={"x": 1}), "assignments[0]: "),
        ({"assignments": PLAN.to_dict()["assignments"][:1] * 2}, "a:q8_0 is assigned more than"),
    ],
)  # fmt: skip
def test_what_is_no_plan_for_this_machine_is_told(
    rig: Rig, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(RequestError) as caught:
        planned_berths(values, rig)
    assert why in caught.value.why
