"""Measured speeds on disk: kept, mixed, bounded, and never in the way when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.engines.program import Work
from server.engines.speeds import ENOUGH, measure, read_speeds, record_speed
from server.hardware.imagined import imagined
from server.planning.deployment import Deployment
from server.planning.measured import NOTHING_MEASURED, Measurement
from server.planning.rig import rig
from server.planning.weights import from_catalogue
from tests.planning.machines import KNOWN

ONE = Measurement("llama-server", "qwen3.5-9b:q4_k_m", ("NVIDIA GeForce RTX 4090",), decode=0.8)


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    assert read_speeds(tmp_path) == NOTHING_MEASURED
    others = [
        replace(ONE, build="qwen3.5-4b:q8_0", prefill=0.5),
        replace(ONE, engine="vllm"),
        replace(ONE, products=ONE.products * 2),
    ]
    for one in (ONE, *others):
        record_speed(tmp_path, one)
    assert read_speeds(tmp_path).measurements == (ONE, *others)


def test_a_later_one_is_mixed_in_and_one_that_tells_nothing_is_not_written(tmp_path: Path) -> None:
    record_speed(tmp_path, replace(ONE, decode=0.01))
    assert not (tmp_path / "state/speeds.json").exists()
    record_speed(tmp_path, replace(ONE, decode=0.5))
    record_speed(tmp_path, replace(ONE, decode=2.0))
    (kept,) = read_speeds(tmp_path).measurements
    assert kept.decode == pytest.approx(1.0)


def test_the_oldest_make_room(tmp_path: Path) -> None:
    for number in range(300):
        record_speed(tmp_path, replace(ONE, build=f"m:{number}"))
    record_speed(tmp_path, replace(ONE, build="m:44"))
    builds = [one.build for one in read_speeds(tmp_path).measurements]
    assert len(builds) == 256
    assert builds[0] == "m:45"
    assert builds[-2:] == ["m:299", "m:44"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b'{"engine": 1}',
        b"[1, null, {}]",
        b'[{"engine": "other", "build": "b", "products": [], "prefill": null, "decode": 1.0, '
        b'"decode_all": null}]',
        b'[{"engine": "vllm", "build": "b", "products": [1], "prefill": null, "decode": 1.0, '
        b'"decode_all": null}]',
        b'[{"engine": "vllm", "build": "b", "products": ["x"], "prefill": null, "decode": "1", '
        b'"decode_all": null}]',
    ],
)
def test_a_damaged_file_is_no_measurement(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/speeds.json").write_bytes(content)
    assert read_speeds(tmp_path) == NOTHING_MEASURED
    record_speed(tmp_path, ONE)
    assert read_speeds(tmp_path).measurements == (ONE,)


@pytest.mark.parametrize(
    ("tokens", "seconds", "tells"),
    [(ENOUGH, 10.0, True), (ENOUGH - 1, 10.0, False), (0, 0.0, False), (ENOUGH, 0.0, False)],
)
def test_too_little_work_tells_nothing(tokens: int, seconds: float, tells: bool) -> None:
    model, build = KNOWN.resolve("qwen3.5-9b:q4_k_m")
    assert build is not None
    weights = from_catalogue(model, build)
    assert weights is not None
    deployment = Deployment(model.id, build.name, "llama-server", ("GPU-0",), 4096, 1)
    work = Work(prompt_tokens=0, prompt_seconds=0.0, tokens=tokens, seconds=seconds)
    found = measure(deployment, model.architecture, weights, rig(imagined("4090+64G")), work)
    assert (found is not None) is tells
