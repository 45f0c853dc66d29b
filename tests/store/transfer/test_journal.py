"""The record beside a part file, whole, torn and foreign."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store.transfer.journal import Journal, Recorded

ABOUT: dict[str, int | str | None] = {"bytes": 100, "sha256": "ab", "git_oid": None}
ALL = {0: 0xDEADBEEF, 3: 7, 1: 0xFFFFFFFF}


def written(part: Path) -> bytes:
    journal = Journal(part, ABOUT)
    journal.begin(10, {0: 0xDEADBEEF})
    journal.add(3, 7)
    journal.add(1, 0xFFFFFFFF)
    journal.close()
    return journal.path.read_bytes()


def test_what_was_recorded_is_read(tmp_path: Path) -> None:
    written(tmp_path / "a.part")
    assert Journal(tmp_path / "a.part", ABOUT).read() == Recorded(10, ALL, clean=True)


def test_without_one_nothing_is_recorded(tmp_path: Path) -> None:
    assert Journal(tmp_path / "a.part", ABOUT).read() is None


@pytest.mark.parametrize("key", list(ABOUT))
def test_that_of_another_file_does_not_count(tmp_path: Path, key: str) -> None:
    written(tmp_path / "a.part")
    assert Journal(tmp_path / "a.part", {**ABOUT, key: 9}).read() is None


@settings(max_examples=60)
@given(cut=st.integers(0, 200))
def test_a_torn_end_costs_the_last_record_only(tmp_path: Path, cut: int) -> None:
    part = tmp_path / "a.part"
    content = written(part)[:cut]
    Journal(part, ABOUT).path.write_bytes(content)
    lines = content.count(b"\n")
    recorded = Journal(part, ABOUT).read()
    if lines < 2:
        assert recorded is None
    else:
        there = dict(list(ALL.items())[: lines - 2])
        assert recorded == Recorded(10, there, clean=content.endswith(b"\n"))


@settings(max_examples=60)
@given(noise=st.binary(max_size=400))
def test_noise_is_survived(tmp_path: Path, noise: bytes) -> None:
    part = tmp_path / "a.part"
    content = written(part)
    Journal(part, ABOUT).path.write_bytes(content + noise)
    found = Journal(part, ABOUT).read()
    assert found is not None
    assert found.crcs.keys() >= {0, 1, 3}


def test_beginning_again_keeps_what_is_told(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    written(part)
    journal = Journal(part, ABOUT)
    journal.begin(20, {3: 7})
    journal.add(4, 8)
    assert Journal(part, ABOUT).read() == Recorded(20, {3: 7, 4: 8}, clean=True)
    journal.remove()
    assert list(tmp_path.iterdir()) == []
    journal.remove()
