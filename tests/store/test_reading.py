"""Reading from the disk and not from memory, and the threads that do it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from server.store.reading import Crew, sha256_from_disk

DATA = b"0123456789abcdef" * 200_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb") as written:
        os.fsync(written.fileno())
    return path


def _is_cached(path: Path) -> bool:
    """Whether its first bytes can be had without waiting for the disk, preadv2(2)."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(10)], 0, os.RWF_NOWAIT) == 10
        except BlockingIOError:
            return False


def _can_be_dropped(path: Path) -> bool:
    """Not on a file system that lives in memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return not _is_cached(path)


def test_the_digest_and_what_is_told_of_the_bytes(file: Path) -> None:
    told: list[int] = []
    assert sha256_from_disk(file, told.append) == hashlib.sha256(DATA).hexdigest()
    assert sum(told) == len(DATA)


def test_it_leaves_no_pages_behind_and_believes_none(file: Path) -> None:
    dropped = _can_be_dropped(file)
    file.read_bytes()
    assert _is_cached(file)
    sha256_from_disk(file, lambda count: None)
    assert _is_cached(file) is not dropped


def test_cached_pages_are_used_where_that_is_asked_for(file: Path) -> None:
    file.read_bytes()
    sha256_from_disk(file, lambda count: None, cached=True)
    assert _is_cached(file)


def test_a_symlink_is_not_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        sha256_from_disk(tmp_path / "link", lambda count: None)


def test_everything_is_done_once_and_errors_of_the_disk_are_results() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise OSError(5, "Input/output error")
        return number * 2

    results = dict(Crew(work, 4).results(range(10)))
    assert isinstance(results.pop(3), OSError)
    assert results == {number: number * 2 for number in range(10) if number != 3}


def test_other_errors_are_raised_to_the_caller() -> None:
    def work(number: int) -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        list(Crew(work, 2).results(range(10)))


def test_nothing_is_begun_that_may_not_begin() -> None:
    begun: list[int] = []
    may = iter([True, True, False])
    assert len(list(Crew(begun.append, 1).results(range(10), lambda: next(may)))) == 2
    assert begun == [0, 1]


def test_leaving_ends_work_under_way_and_the_threads() -> None:
    before = threading.active_count()

    def work(number: int) -> int:
        while number:  # all but the first would never end by themselves
            crew.check()
            time.sleep(0.001)
        return number

    crew = Crew(work, 3)
    results = crew.results(range(10))
    assert next(results) == (0, 0)
    results.close()
    assert threading.active_count() == before
