"""The shelf: what is found on it, and what is taken off it."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import StoreError
from server.store.shelf import Shelf
from tests.store.shelves import FILES, OTHER, REPOSITORY, REVISION, published, stage


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


def names_below(folder: Path) -> list[str]:
    """Every file below `folder`."""
    paths = folder.rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


# ---- Finding ----


def test_an_empty_store(shelf: Shelf) -> None:
    assert shelf.volumes() == ()
    assert shelf.volume(REPOSITORY, REVISION) is None
    assert shelf.by_sha256() == {}
    with pytest.raises(StoreError, match="The store is empty"):
        shelf.find("anything")


@pytest.mark.parametrize(
    ("name", "revisions"),
    [
        (REPOSITORY, [REVISION, OTHER]),
        ("qwen/QWEN3.5-9b", [REVISION, OTHER]),
        ("qwen3.5-9b", [REVISION, OTHER]),
        (f"{REPOSITORY}@c2022", [REVISION]),
        ("Qwen3.5-9B@FFFF", [OTHER]),
        (f"{REPOSITORY}@{OTHER}", [OTHER]),
    ],
)
def test_names(shelf: Shelf, name: str, revisions: list[str]) -> None:
    published(shelf, revision=REVISION)
    published(shelf, revision=OTHER)
    published(shelf, repository="someone/else")
    assert [volume.revision for volume in shelf.find(name)] == revisions


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Qwen/Qwen3.5-8B", f'Did you mean "{REPOSITORY}"?'),
        ("zzz", f"Held: {REPOSITORY}"),
        (f"{REPOSITORY}@abc", f"Held of it: {REPOSITORY}@{REVISION[:12]}"),
    ],
)
def test_an_unknown_name_gets_the_nearest(shelf: Shelf, name: str, hint: str) -> None:
    published(shelf)
    with pytest.raises(StoreError) as caught:
        shelf.find(name)
    assert hint in caught.value.next_step


def test_what_is_no_revision_is_no_volume(shelf: Shelf) -> None:
    published(shelf)
    stage(shelf, revision=OTHER)
    for path in ("Qwen/Qwen3.5-9B/main", ".damaged/Qwen/Qwen3.5-9B/" + OTHER, f"{OTHER}/a/b"):
        (shelf.root / path).mkdir(parents=True)
    (shelf.root / "Qwen" / "Qwen3.5-9B" / OTHER).touch()
    assert [volume.revision for volume in shelf.volumes()] == [REVISION]


def test_a_folder_without_a_receipt_and_one_with_a_bad_one(shelf: Shelf) -> None:
    by_hand = shelf.folder("by/hand", OTHER)
    by_hand.mkdir(parents=True)
    damaged = published(shelf)
    (damaged.folder / "holdfast.json").unlink()
    (damaged.folder / "holdfast.json").write_text("{")
    stranger = shelf.folder("some/other", OTHER)
    stranger.mkdir(parents=True)
    moved = published(shelf, repository="a/a")
    (stranger / "holdfast.json").write_bytes((moved.folder / "holdfast.json").read_bytes())
    found = {volume.repository: volume for volume in shelf.volumes()}
    assert [volume.receipt is None for volume in found.values()] == [True, False, True, True]
    assert found["by/hand"].problem is None
    assert "is damaged" in (found[REPOSITORY].problem or "")
    assert "receipt is that of a/a@" in (found["some/other"].problem or "")


@pytest.mark.parametrize(
    ("repository", "revision"),
    [
        ("../..", REVISION),
        ("a/..", REVISION),
        (".incoming/a", REVISION),
        ("one", REVISION),
        ("a/b/c", REVISION),
        ("a/b\0", REVISION),
        ("a/b", "main"),
        ("a/b", ".."),
        ("a/b", REVISION.upper()),
    ],
)
def test_no_name_leads_out(shelf: Shelf, repository: str, revision: str) -> None:
    for place in (shelf.folder, shelf.incoming, shelf.damaged):
        with pytest.raises(StoreError):
            place(repository, revision)
    assert shelf.volumes(repository) == ()


def test_content_by_its_digest(shelf: Shelf) -> None:
    first = published(shelf, {"a": b"same", "b": b"gone", "c": b"cut"})
    published(shelf, {"d": b"same", "e": b"own"}, revision=OTHER)
    (first.folder / "b").unlink()
    (first.folder / "c").unlink()
    (first.folder / "c").write_bytes(b"c")
    there = shelf.by_sha256()
    assert sorted(path.name for path in there.values()) == ["a", "e"]
    without = shelf.by_sha256({first.folder / "a"})
    assert sorted(path.name for path in without.values()) == ["d", "e"]


# ---- Taking off ----


def test_a_volume_removed_leaves_nothing(shelf: Shelf) -> None:
    volume = published(shelf)
    stage(shelf, {"more": b"x"})
    shelf.remove(volume)
    assert list(shelf.root.iterdir()) == []


def test_a_volume_removed_leaves_its_neighbours(shelf: Shelf) -> None:
    volume, other = published(shelf), published(shelf, revision=OTHER)
    going = shelf.incoming(REPOSITORY, REVISION).with_name(f"{REVISION}.removed")
    (going / "left by one that was killed").mkdir(parents=True)
    shelf.remove(volume)
    assert shelf.volumes() == (other,)
    assert [path.name for path in shelf.root.iterdir()] == ["Qwen"]


def test_files_removed_are_in_the_receipt_no_more(shelf: Shelf) -> None:
    volume = published(shelf)
    (volume.folder / "sub" / "by hand").touch()
    shelf.remove(volume, ["sub/notes.txt", "README.md"])
    left = shelf.volume(REPOSITORY, REVISION)
    assert left is not None
    assert left.receipt is not None
    assert [held.path for held in left.receipt.files] == ["config.json"]
    assert names_below(left.folder) == ["SHA256SUMS", "config.json", "holdfast.json", "sub/by hand"]


def test_a_folder_that_is_empty_then_goes_as_well(shelf: Shelf) -> None:
    volume = published(shelf)
    shelf.remove(volume, ["sub/notes.txt", "not there"])
    assert not (volume.folder / "sub").exists()


def test_without_a_receipt_no_single_file_is_removed(shelf: Shelf) -> None:
    volume = published(shelf)
    (volume.folder / "holdfast.json").unlink()
    bare = shelf.volume(REPOSITORY, REVISION)
    assert bare is not None
    with pytest.raises(StoreError, match="has no receipt"):
        shelf.remove(bare, ["README.md"])
    assert (volume.folder / "README.md").exists()


def test_set_aside_twice(shelf: Shelf) -> None:
    volume = published(shelf)
    places = []
    for content in (b"one", b"two"):
        path = volume.folder / "sub" / "notes.txt"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        places.append(shelf.set_aside(volume, "sub/notes.txt"))
        assert not path.exists()
    assert [place.read_bytes() for place in places] == [b"one", b"two"]
    assert all(shelf.damaged(REPOSITORY, REVISION) in place.parents for place in places)


def test_what_a_writer_may_not_do_is_told(shelf: Shelf) -> None:
    volume = published(shelf)
    with pytest.raises(StoreError, match="cannot be written"):
        shelf.set_aside(volume, "no such file")
    assert sorted(FILES) == [held.path for held in volume.receipt.files]  # type: ignore[union-attr]
