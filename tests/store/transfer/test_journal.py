"""The record beside a part file, whole, torn and foreign."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.store.transfer.journal import Journal

ABOUT = {"bytes": 100, "segment": 10, "sha256": "ab", "git_oid": None}


def written(part: Path) -> bytes:
    journal = Journal(part, ABOUT)
    journal.begin({0: 0xDEADBEEF})
    journal.add(3, 7)
    journal.add(1, 0xFFFFFFFF)
    journal.close()
    return journal.path.read_bytes()


def test_what_was_recorded_is_read(tmp_path: Path) -> None:
    written(tmp_path / "a.part")
    assert Journal(tmp_path / "a.part", ABOUT).read() == {0: 0xDEADBEEF, 3: 7, 1: 0xFFFFFFFF}


def test_without_one_nothing_is_recorded(tmp_path: Path) -> None:
    assert Journal(tmp_path / "a.part", ABOUT).read() == {}


@pytest.mark.parametrize("key", list(ABOUT))
def test_that_of_another_file_does_not_count(tmp_path: Path, key: str) -> None:
    written(tmp_path / "a.part")
    assert Journal(tmp_path / "a.part", {**ABOUT, key: 9}).read() == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cut=st.integers(0, 200))
def test_a_torn_end_costs_the_last_record_only(tmp_path: Path, cut: int) -> None:
    part = tmp_path / "a.part"
    content = written(part)[:cut]
    Journal(part, ABOUT).path.write_bytes(content)
    whole = max(0, content.count(b"\n") - 1)
    expected = [(0, 0xDEADBEEF), (3, 7), (1, 0xFFFFFFFF)][:whole]
    assert Journal(part, ABOUT).read() == dict(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(noise=st.binary(max_size=400))
def test_noise_is_survived(tmp_path: Path, noise: bytes) -> None:
    part = tmp_path / "a.part"
    content = written(part)
    Journal(part, ABOUT).path.write_bytes(content + noise)
    found = Journal(part, ABOUT).read()
    assert {key: found[key] for key in (0, 1, 3)}.keys() == {0, 1, 3}


def test_beginning_again_keeps_what_is_told(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    written(part)
    journal = Journal(part, ABOUT)
    journal.begin({3: 7})
    journal.add(4, 8)
    assert Journal(part, ABOUT).read() == {3: 7, 4: 8}
    journal.remove()
    assert list(tmp_path.iterdir()) == []
    journal.remove()
