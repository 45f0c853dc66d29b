"""What `deliver` leaves on the disk, whatever was there before."""

from __future__ import annotations

import hashlib
import io
import os
import random
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import StoreError
from server.store.copies.delivery import deliver, open_at

CONTENT = random.Random(5).randbytes(9 * 1024 * 1024 + 17)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def brought(source: Path, part: Path) -> int:
    """Delivers; how many bytes were told of."""
    told: list[int] = []
    deliver(partial(open_at, source), part, len(CONTENT), SHA256, told.append)
    return sum(told)


@pytest.mark.parametrize(
    ("before", "told"),
    [
        pytest.param(None, 2, id="nothing"),
        pytest.param(CONTENT[:5_000_001], 2, id="a part"),
        pytest.param(CONTENT, 2, id="all of it"),
        pytest.param(CONTENT + b"more", 2, id="more than it"),
        pytest.param(bytes(5_000_001), 4, id="zeros, as a power cut leaves them"),
        pytest.param(bytes(len(CONTENT)), 4, id="zeros of the full length"),
    ],
)
def test_it_is_right_whatever_was_there(
    source: Path, tmp_path: Path, before: bytes | None, told: int
) -> None:
    part = tmp_path / "a" / "b" / "file.part"
    if before is not None:
        part.parent.mkdir(parents=True)
        part.write_bytes(before)
    assert brought(source, part) == told * len(CONTENT)
    assert part.read_bytes() == CONTENT


def test_a_damaged_source_is_named_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    source.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(StoreError, match="what it is a copy of is damaged"):
        brought(source, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_a_truncated_source_is_told_as_damaged(source: Path, tmp_path: Path) -> None:
    source.write_bytes(CONTENT[:-1])
    with pytest.raises(StoreError, match="is damaged"):
        brought(source, tmp_path / "part")


class Forgetful(io.BytesIO):
    """Gives one wrong byte the first time it is read, as a bad cable does."""

    read_before = False

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer)
        if not Forgetful.read_before:
            buffer[0] ^= 1
            Forgetful.read_before = True
        return count


def test_bytes_that_change_on_the_way_are_the_ways_fault(tmp_path: Path) -> None:
    def source(offset: int) -> io.RawIOBase:
        file = Forgetful(CONTENT)
        file.seek(offset)
        return file  # type: ignore[return-value]

    with pytest.raises(StoreError, match="comes back otherwise than it was written"):
        deliver(source, tmp_path / "part", len(CONTENT), SHA256, lambda _: None)
    assert not (tmp_path / "part").exists()


def test_a_part_that_is_linked_elsewhere_is_never_written_through(
    source: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part"
    os.link(source, part)
    with pytest.raises(StoreError, match="linked to another file"):
        deliver(partial(open_at, source), part, 5, SHA256, lambda _: None)
    assert source.read_bytes() == CONTENT


def test_a_symbolic_link_is_not_followed(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    (tmp_path / "part").symlink_to(other)
    with pytest.raises(StoreError):
        brought(source, tmp_path / "part")
    assert other.read_bytes() == b"precious"


class StoppedError(Exception):
    pass


@settings(max_examples=12)
@given(at=st.integers(0, 2 * len(CONTENT) - 1))
def test_stopped_anywhere_it_goes_on(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    source = folder / "source"
    source.write_bytes(CONTENT)
    left = at

    def stop(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            raise StoppedError

    part = folder / "part"
    with pytest.raises(StoppedError):
        deliver(partial(open_at, source), part, len(CONTENT), SHA256, stop)
    there = part.stat().st_size
    assert part.read_bytes() == CONTENT[:there]
    brought(source, part)
    assert part.read_bytes() == CONTENT
    assert part.stat().st_size == len(CONTENT)
