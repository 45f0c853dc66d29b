"""The file of observations: what was added is read, what is damaged is not, and it stays small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from server.engines.observations import Observations
from server.planning.calibration import Observation

ONE = Observation(
    start="2026-11-21T07:22:33Z",
    engine="llama-server",
    version="b1",
    device="ram",
    build="m:b",
    deployment="{}",
    component="process",
    predicted=100,
    planned=101,
    actual=110,
)
TWO = replace(ONE, component="compute", actual=7)


def test_what_is_added_is_read_in_order(tmp_path: Path) -> None:
    kept = Observations(tmp_path)
    assert kept.read() == ()
    kept.add([])
    assert not kept.path.exists()
    kept.add([ONE])
    kept.add([TWO, ONE])
    assert Observations(tmp_path).read() == (ONE, TWO, ONE)


def line(**changes: object) -> bytes:
    values = orjson.loads(orjson.dumps(ONE)) | changes
    return orjson.dumps({key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"not JSON",
        b"[1, 2]",
        b"\xff\xfe",
        b'{"start": "x"}',
        line(actual=None),
        line(actual="110"),
        line(actual=-1),
        line(actual=1 << 60),
        line(actual=1.5),
        line(predicted=True),
        line(component="soul"),
        line(engine="ollama"),
        line(later="a key of a later version"),
    ],
)
def test_bad_lines_are_skipped(tmp_path: Path, bad: bytes) -> None:
    kept = Observations(tmp_path)
    kept.add([ONE])
    with kept.path.open("ab") as file:
        file.write(bad + b"\n")
    kept.add([TWO])
    assert kept.read() == (ONE, TWO)


def test_a_line_that_was_cut_off_costs_itself_only(tmp_path: Path) -> None:
    kept = Observations(tmp_path)
    kept.add([ONE, ONE])
    kept.path.write_bytes(kept.path.read_bytes()[:-20])
    kept.add([TWO])
    assert kept.read() == (ONE, TWO)


def test_the_file_stays_small_and_the_newest_stay(tmp_path: Path) -> None:
    kept = Observations(tmp_path, limit=2000)
    for number in range(100):
        kept.add([replace(ONE, actual=number)])
    files = sorted(path.name for path in kept.path.parent.iterdir())
    assert files == ["observations.jsonl", "observations.jsonl.1"]
    assert all(path.stat().st_size <= 2000 for path in kept.path.parent.iterdir())
    numbers = [one.actual for one in kept.read()]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 5


def test_a_file_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    kept = Observations(tmp_path)
    kept.path.mkdir(parents=True)
    assert kept.read() == ()
