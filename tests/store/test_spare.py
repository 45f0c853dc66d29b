"""What counts as a second copy of bytes that are to be removed."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from server.store.copies.copy import Copy, open_copy
from server.store.receipt import Held, now
from server.store.shelf import Shelf, Volume
from server.store.spare import FRESH, kept_here, last, proven, witness
from tests.store.shelves import FILES, OTHER, published


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


@pytest.fixture
def volume(shelf: Shelf) -> Volume:
    return published(shelf)


def files(volume: Volume) -> tuple[Held, ...]:
    assert volume.receipt is not None
    return volume.receipt.files


def placed(volume: Volume) -> list[tuple[Held, Path]]:
    return [(held, volume.folder / held.path) for held in files(volume)]


def rot(path: Path) -> None:
    """Another byte, in a file of its own."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.unlink()
    path.write_bytes(content)


# ---- In the same store ----


def test_another_revision_with_the_same_bytes(shelf: Shelf, volume: Volume) -> None:
    other = published(shelf, {**FILES, "README.md": b"# another"}, revision=OTHER)
    rot(other.folder / "config.json")
    os.truncate(other.folder / "config.json", 2)
    going = placed(volume)
    others = shelf.by_sha256({path for _, path in going})
    read: list[int] = []
    good = kept_here(going, others, read.append)
    assert {held.path for held in last(files(volume), good)} == {"README.md", "config.json"}
    assert sum(read) == len(b"hello") + len(b"{}")


def test_a_second_name_of_the_same_file_is_not_read(shelf: Shelf, volume: Volume) -> None:
    read: list[int] = []
    going = placed(volume)
    others = {held.sha256: path for held, path in going}
    assert len(kept_here(going, others, read.append)) == len(FILES)
    assert read == []


# ---- In a copy ----


@pytest.fixture
def copy(tmp_path: Path, volume: Volume) -> Copy:
    """A copy of the store as `mirror sync` leaves it, but never read back."""
    assert volume.receipt is not None
    (tmp_path / "copy").mkdir()
    there = open_copy(str(tmp_path / "copy"))
    there.initialize()
    for held, path in placed(volume):
        there.send(volume.receipt, held, path, lambda count: None)
    there.seal(volume.receipt)
    return there


def asked(copy: Copy, volume: Volume, tell: list[str]) -> set[str]:
    """The paths of the volume's files that the copy proves to have."""
    assert volume.receipt is not None
    one = witness(copy, copy.inventory(), volume.receipt, files(volume), now())
    good = proven(one, lambda count: None, tell.append) if one else frozenset()
    return {held.path for held in files(volume) if held.sha256 in good}


def place(tmp_path: Path, volume: Volume, path: str) -> Path:
    return tmp_path / "copy" / volume.repository / volume.revision / path


def test_a_sound_copy_proves_everything(copy: Copy, volume: Volume) -> None:
    assert asked(copy, volume, []) == set(FILES)


def test_a_rotten_a_cut_and_an_absent_file_prove_nothing(
    tmp_path: Path, copy: Copy, volume: Volume
) -> None:
    rot(place(tmp_path, volume, "config.json"))
    place(tmp_path, volume, "README.md").chmod(0o644)
    os.truncate(place(tmp_path, volume, "README.md"), 1)
    place(tmp_path, volume, "sub/notes.txt").unlink()
    told: list[str] = []
    assert asked(copy, volume, told) == set()
    assert told == [f"{tmp_path / 'copy'}: config.json is damaged there"]


@pytest.mark.parametrize(("age", "believed"), [(FRESH / 2, True), (FRESH * 2, False)])
def test_what_was_read_back_not_long_ago_is_believed(
    tmp_path: Path, copy: Copy, volume: Volume, age: timedelta, believed: bool
) -> None:
    assert volume.receipt is not None
    copy.note_verified([volume.receipt], now() - age)
    rot(place(tmp_path, volume, "config.json"))
    assert ("config.json" in asked(copy, volume, [])) == believed


def test_a_copy_of_other_bytes_proves_nothing(copy: Copy, volume: Volume) -> None:
    assert volume.receipt is not None
    other = tuple(replace(held, sha256="0" * 64) for held in files(volume))
    assert witness(copy, copy.inventory(), volume.receipt, other, now()) is None
    elsewhere = replace(volume.receipt, revision=OTHER)
    assert witness(copy, copy.inventory(), elsewhere, files(volume), now()) is None
