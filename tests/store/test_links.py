from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.errors import StoreError
from server.store import links
from server.store.links import link_or_copy


def test_on_one_file_system_nothing_is_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"abc")
    made = link_or_copy(source, target)
    assert made in ("reflink", "hardlink")
    assert target.read_bytes() == b"abc"
    assert target.samefile(source) == (made == "hardlink")


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    source, link, target = tmp_path / "a", tmp_path / "l", tmp_path / "b"
    source.write_bytes(b"abc")
    link.symlink_to("a")
    link_or_copy(link, target)
    assert not target.is_symlink()
    assert target.read_bytes() == b"abc"


@pytest.fixture
def other_disk(tmp_path: Path) -> Path:
    """A folder on another file system than pytest's, if this machine has one in memory."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    folder = shm / f"holdfast-test-{os.getpid()}"
    folder.mkdir()
    return folder


def test_between_file_systems_it_is_copied_or_left(tmp_path: Path, other_disk: Path) -> None:
    source, target = tmp_path / "a", other_disk / "b"
    source.write_bytes(os.urandom(3_000_000))
    try:
        assert link_or_copy(source, target, allow_copy=False) is None
        assert not target.exists()
        assert link_or_copy(source, target) == "copy"
        assert target.read_bytes() == source.read_bytes()
    finally:
        target.unlink(missing_ok=True)
        other_disk.rmdir()


@pytest.mark.parametrize("size", [0, 1, 40_000_000])
def test_a_copy_has_every_byte(tmp_path: Path, size: int) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(size))
    links._copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert not target.samefile(source)


@pytest.mark.parametrize("case", ["source is absent", "target exists", "no folder"])
def test_what_does_not_work_is_told(tmp_path: Path, case: str) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    if case != "source is absent":
        source.write_bytes(b"abc")
    if case == "target exists":
        target.write_bytes(b"mine")
    if case == "no folder":
        target = tmp_path / "none" / "b"
    with pytest.raises(StoreError, match=r"cannot be (written|read)"):
        link_or_copy(source, target)
    assert not target.exists() or target.read_bytes() == b"mine"
