"""What starts teach: factors that are robust, that stay where they belong, and that help."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.planning.accuracy import rows, worst
from server.planning.calibration import NEWEST, NONE, Observation, learn, observe
from server.planning.deployment import Deployment
from server.planning.footprint import RAM, Component, Footprint
from server.units import MIB

GPU = "NVIDIA GeForce RTX 4090"
ONE = Observation(
    start="2026-11-21T07:22:33Z",
    engine="llama-server",
    version="b1",
    device=RAM,
    build="m:b",
    deployment="{}",
    component="process",
    predicted=100 * MIB,
    planned=100 * MIB,
    actual=110 * MIB,
)


def factor(
    *seen: Observation,
    version: str = "b1",
    device: str = RAM,
    component: Component = "process",
) -> float:
    found = learn(seen, versions={"llama-server": version}, kinds={"GPU-1": GPU})
    return found.factor("llama-server", device, component)


def test_nothing_known_changes_nothing() -> None:
    assert factor() == NONE.factor("vllm", RAM, "compute") == 1


def test_one_start_corrects() -> None:
    assert factor(ONE) == pytest.approx(1.1)


def test_one_odd_start_among_several_moves_nothing() -> None:
    assert factor(ONE, ONE, replace(ONE, actual=190 * MIB)) == pytest.approx(1.1)


def test_old_starts_fade_out() -> None:
    old, new = [ONE] * 50, [replace(ONE, actual=130 * MIB)] * NEWEST
    assert factor(*old, *new) == pytest.approx(1.3)


@pytest.mark.parametrize(("actual", "expected"), [(1, 0.5), (1000 * MIB, 2.0)])
def test_absurd_factors_are_bounded(actual: int, expected: float) -> None:
    assert factor(replace(ONE, actual=actual)) == expected


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, version="b2"),
        replace(ONE, engine="vllm"),
        replace(ONE, device=GPU),
        replace(ONE, component="compute"),
        replace(ONE, predicted=0),
        replace(ONE, actual=0),
    ],
)
def test_factors_stay_where_they_belong(other: Observation) -> None:
    assert factor(other) == 1


def test_what_is_lost_in_a_logs_rounding_teaches_nothing() -> None:
    tiny = replace(ONE, predicted=8192, actual=10_486)  # logged as 0.01 MiB
    assert factor(tiny) == 1
    assert factor(tiny, replace(ONE, predicted=4 * MIB, actual=5 * MIB), ONE) == pytest.approx(1.1)


def test_devices_of_a_kind_share_what_was_learnt() -> None:
    seen = replace(ONE, device=GPU)
    assert factor(seen, device="GPU-1") == pytest.approx(1.1)
    assert factor(seen, device="GPU-2") == 1


@pytest.mark.parametrize(
    "component", ["weights", "kv_cache", "state", "checkpoints", "prompt_cache"]
)
def test_what_is_exact_is_never_corrected(component: Component) -> None:
    assert factor(replace(ONE, component=component), component=component) == 1


DEPLOYMENT = Deployment("m", "m:b", "llama-server", ("GPU-1",), 4096, 1)
PREDICTED = Footprint.of_bytes(
    [
        ("GPU-1", "weights", 1000),
        ("GPU-1", "kv_cache", 300),
        ("GPU-1", "compute", 100),
        ("GPU-1", "context", 400),
        (RAM, "process", 50),
        (RAM, "checkpoints", 70),
    ]
)


def observed(
    actual: dict[tuple[str, Component], int],
    deployment: Deployment = DEPLOYMENT,
    predicted: Footprint = PREDICTED,
    start: str = "2026-11-21T08:00:00Z",
) -> dict[tuple[str, Component], Observation]:
    found = observe(start, deployment, "b1", {"GPU-1": GPU}, predicted, predicted, actual)
    return {(one.device, one.component): one for one in found}


def test_a_start_is_observed_by_component() -> None:
    found = observed({("GPU-1", "weights"): 990, ("GPU-1", "kv_cache"): 300, (RAM, "process"): 55})
    assert {key: (one.predicted, one.actual) for key, one in found.items()} == {
        (GPU, "weights"): (1000, 990),
        (GPU, "kv_cache"): (300, 300),
        (RAM, "process"): (50, 55),
    }
    assert {(one.build, one.deployment, one.version) for one in found.values()} == {
        ("m:b", DEPLOYMENT.key, "b1")
    }


def test_what_an_engine_does_not_tell_is_in_the_rest() -> None:
    told: dict[tuple[str, Component], int] = {
        ("GPU-1", "weights"): 1000,
        ("GPU-1", "kv_cache"): 300,
        ("GPU-1", "context"): 600,  # all that is not told: predicted are 400 and 100
    }
    found = observed(told)
    assert found[GPU, "context"].actual == 480
    assert found[GPU, "compute"].actual == 120
    assert (RAM, "checkpoints") not in found


def test_one_pool_is_divided_into_cache_and_state() -> None:
    deployment = replace(DEPLOYMENT, engine="vllm")
    predicted = Footprint.of_bytes([("GPU-1", "kv_cache", 300), ("GPU-1", "state", 200)])
    found = observed({("GPU-1", "kv_cache"): 500}, deployment, predicted)
    assert (found[GPU, "kv_cache"].actual, found[GPU, "state"].actual) == (300, 200)


def test_accuracy_tells_the_newest_start_of_each_deployment() -> None:
    first = observed({("GPU-1", "weights"): 500}, start="2026-11-21T08:00:00Z")
    second = observed(
        {("GPU-1", "weights"): 990, (RAM, "process"): 40}, start="2026-11-21T09:00:00Z"
    )
    found = rows([*second.values(), *first.values()])
    assert [(row.device, row.component, row.planned, row.actual) for row in found] == [
        (GPU, "weights", 1000, 990),
        (GPU, None, 1000, 990),
        (RAM, "process", 50, 40),
        (RAM, None, 50, 40),
    ]
    assert found[0].difference == 10
    assert found[2].error == found[2].first_error == 0.25
    assert worst(found) == found[2]
    assert worst([]) is None


def test_twin_gpus_are_added_up() -> None:
    twins = [replace(ONE, device=GPU, predicted=100, actual=size) for size in (100, 120)]
    total = rows(twins)[0]
    assert (total.predicted, total.actual) == (200, 220)


def test_learning_makes_the_next_prediction_true() -> None:
    """Two deployments of an engine whose process is a fifth larger than the formula has it."""
    sizes = (500 * MIB, 900 * MIB)
    first, second = (replace(ONE, predicted=p, planned=p, actual=p * 6 // 5) for p in sizes)
    corrections = learn([first], versions={"llama-server": "b1"}, kinds={})
    planned = second.predicted * corrections.factor("llama-server", RAM, "process")
    assert planned == pytest.approx(second.actual)
