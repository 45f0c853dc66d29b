"""Predicted beside actual."""

from __future__ import annotations

from typing import Any

import orjson

from server.cli.plan.accuracy import accuracy, document
from server.cli.plan.screen import Screen
from server.planning.calibration import Observation
from server.planning.footprint.component import Component
from server.planning.measured import NOTHING_MEASURED, Measured, Measurement
from server.units import GIB, MIB
from tests.cli.plan.drafts import SMALL


def observation(component: Component, planned: int, actual: int, **changes: Any) -> Observation:
    given: dict[str, Any] = {
        "start": "2026-11-21T07:22:33Z",
        "engine": "llama-server",
        "version": "b9800",
        "device": "ram",
        "build": "qwen3.5-9b:q4_k_m",
        "deployment": SMALL.option.deployment.key,
        "component": component,
        "predicted": planned,
        "planned": planned,
        "actual": actual,
    }
    return Observation(**(given | changes))


START = (
    observation("weights", 5 * GIB, 5 * GIB),
    observation("kv_cache", 2 * GIB, 2 * GIB),
    observation("compute", 515 * MIB, 500 * MIB, predicted=550 * MIB),
)


def told(*observations: Observation, measured: Measured = NOTHING_MEASURED) -> str:
    screen = Screen(None)
    return screen.render(accuracy(observations, measured, screen))


def test_without_a_start_it_says_where_they_come_from() -> None:
    assert told().startswith(
        "Nothing was observed yet. Every start of an engine by `holdfast serve`"
    )


def test_each_component_and_all_of_them() -> None:
    lines = told(*START).splitlines()
    assert "qwen3.5-9b:q4_k_m, 4 x 128K on RAM, llama-server b9800" in lines
    text = {" ".join(line.split()) for line in lines}
    assert "weights 5.0 GiB 5.0 GiB 5.0 GiB +0.0%" in text
    assert "KV cache 2.0 GiB 2.0 GiB 2.0 GiB exact" in text
    assert "compute 550.0 MiB 515.0 MiB 500.0 MiB +3.0%" in text
    assert "in all 7.5 GiB 7.5 GiB 7.5 GiB +0.2%" in text


def test_what_should_be_exact_and_is_not_shows() -> None:
    text = " ".join(told(observation("state", 100 * MIB, 50 * MIB)).split())
    assert "state 100.0 MiB 100.0 MiB 50.0 MiB +100.0%" in text


def test_what_is_below_the_digits_of_the_log_is_exact() -> None:
    text = " ".join(told(observation("state", 933_888, 933_232)).split())
    assert "state 912.0 KiB 912.0 KiB 911.4 KiB exact" in text


def test_what_the_log_cannot_tell_is_no_error() -> None:
    text = told(observation("output", 16_384, 20_971), observation("weights", GIB, GIB))
    assert "+0.0%" in text
    assert "-21.9%" not in text
    assert text.endswith("In all, plans were off by 0.0% at most.")


def test_what_was_furthest_off_is_named() -> None:
    assert "furthest off was compute of qwen3.5-9b:q4_k_m, by +3.0% (15.0 MiB)." in told(*START)


def test_a_gpu_is_told_by_its_kind() -> None:
    on = observation("weights", GIB, GIB, device="NVIDIA H100 80GB HBM3")
    assert "on NVIDIA H100 80GB HBM3, llama-server" in told(on)


def test_what_another_version_deployed_is_still_told() -> None:
    text = told(observation("weights", GIB, GIB, deployment='{"model":"x","unknown":1}'))
    assert "qwen3.5-9b:q4_k_m on RAM" in text
    assert "qwen3.5-9b:q4_k_m on RAM" in told(observation("weights", GIB, GIB, deployment="{"))


def test_speeds() -> None:
    one = Measurement("llama-server", "qwen3.5-9b:q4_k_m", ("AMD EPYC",), decode=0.92)
    assert "   qwen3.5-9b:q4_k_m: answers 92% (llama-server, AMD EPYC)" in told(
        *START, measured=Measured((one,))
    )


def test_as_json() -> None:
    data = orjson.loads(orjson.dumps(document(START, NOTHING_MEASURED)))
    assert [row["component"] for row in data["memory"]] == [
        "weights", "kv_cache", "compute", "total",
    ]  # fmt: skip
    assert data["memory"][1]["exact"] is True
    assert data["memory"][2]["error"] == 0.03
    assert data["memory"][2]["first_error"] == 0.1
    assert data["memory"][0]["deployment"]["slots"] == 4
