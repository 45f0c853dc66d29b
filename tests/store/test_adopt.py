"""Adopting: what each file is held against, and what becomes of those that differ."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue import Catalogue, load
from server.errors import StoreError
from server.settings import Settings
from server.store.adopt import adopt, expectations, known_files, licence_of
from server.store.digest import blob_oid, lfs_pointer_oid
from server.store.finds import Find, Finds
from server.store.hub import Remote
from server.store.shelf import Shelf
from tests.store.shelves import REPOSITORY, REVISION, published


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return load(Settings(home=tmp_path, configs=()))


def finds(folder: Path, **contents: bytes) -> Finds:
    """Files in a folder of which nothing is told."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = tuple(Find(name, folder / name) for name in sorted(contents))
    return Finds(REPOSITORY, REVISION, folder, files, {})


def test_the_catalogue_comes_before_the_hub_and_the_hub_before_the_place(tmp_path: Path) -> None:
    three = finds(tmp_path / "f", a=b"a", b=b"b", c=b"c", d=b"d")
    told = tuple(replace(find, sha256="0" * 64) for find in three.files[:3])
    three = replace(three, files=(*told, three.files[3]))
    first = {"a": Remote("a", 1, "1" * 64)}
    second = {"a": Remote("a", 2, "2" * 64), "b": Remote("b", 2, None, "2" * 40)}
    a, b, c, d = expectations(three, [first, second])
    assert (a.bytes, a.sha256, a.lfs) == (1, "1" * 64, True)
    assert (b.bytes, b.sha256, b.git_oid, b.lfs) == (2, None, "2" * 40, False)
    assert (c.bytes, c.sha256, c.lfs) == (None, "0" * 64, True)
    assert [one.is_proven for one in (a, b, c, d)] == [True, True, True, False]


def test_what_the_catalogue_knows(catalogue: Catalogue) -> None:
    build = catalogue.resolve("qwen3.5-9b:q4_k_m")[1]
    assert build is not None
    assert build.repository is not None
    assert build.revision is not None
    known = known_files(catalogue, build.repository, build.revision)
    (file,) = build.files
    assert file.sha256 is not None
    assert file.bytes is not None
    oid = lfs_pointer_oid(file.sha256, file.bytes)
    assert known[file.path] == Remote(file.path, file.bytes, file.sha256, oid)
    assert known_files(catalogue, build.repository, "0" * 40) == {}
    assert licence_of(catalogue, build.repository) == "apache-2.0"
    assert licence_of(catalogue, "no/such") is None


def test_only_what_is_right_is_taken(tmp_path: Path, shelf: Shelf) -> None:
    lying = finds(tmp_path / "f", lfs=b"lfs", git=b"git", bad=b"bad", size=b"size", bare=b"bare")
    known = {
        "lfs": Remote("lfs", 3, sha(b"lfs")),
        "git": Remote("git", 3, None, blob_oid(b"git")),
        "bad": Remote("bad", 3, sha(b"good")),
        "size": Remote("size", 5, sha(b"size")),
    }
    told: list[int] = []
    done = adopt(lying, expectations(lying, [known]), shelf, licence=None, on_bytes=told.append)
    assert set(done.files) == {"lfs", "git"}
    assert done.unproven == ("bare",)
    assert "its sha256 is" in done.damaged["bad"]
    assert "it has 4 bytes, and should have 5" in done.damaged["size"]
    assert done.receipt is not None
    assert done.receipt.source == f"adopted from {tmp_path / 'f'}"
    held = {file.path: (file.git_oid, file.lfs) for file in done.receipt.files}
    assert held == {
        "lfs": (lfs_pointer_oid(sha(b"lfs"), 3), True),
        "git": (blob_oid(b"git"), False),
    }
    assert sum(told) == 9
    assert not (shelf.root / ".incoming").exists()


def test_trusted_as_it_is(tmp_path: Path, shelf: Shelf) -> None:
    lying = finds(tmp_path / "f", bare=b"bare")
    done = adopt(lying, expectations(lying, []), shelf, licence=None, trust=True)
    assert done.receipt is not None
    assert [file.sha256 for file in done.receipt.files] == [sha(b"bare")]


def test_nothing_to_take_leaves_nothing(tmp_path: Path, shelf: Shelf) -> None:
    lying = finds(tmp_path / "f", bare=b"bare")
    done = adopt(lying, expectations(lying, []), shelf, licence=None)
    assert (done.receipt, done.files, done.unproven) == (None, {}, ("bare",))
    assert not shelf.root.exists()


def test_what_is_held_is_not_touched(tmp_path: Path, shelf: Shelf) -> None:
    volume = published(shelf, {"a": b"held"})
    lying = finds(tmp_path / "f", a=b"other", b=b"new")
    done = adopt(lying, expectations(lying, []), shelf, licence=None, trust=True)
    assert (done.held, set(done.files)) == (("a",), {"b"})
    assert (volume.folder / "a").read_bytes() == b"held"
    assert done.receipt is not None
    assert done.receipt.source == "a test"


def test_a_part_of_an_interrupted_download_gives_way(tmp_path: Path, shelf: Shelf) -> None:
    incoming = shelf.incoming(REPOSITORY, REVISION)
    incoming.mkdir(parents=True)
    (incoming / "a.part").write_bytes(b"half of i")
    (incoming / "a.part.journal").write_bytes(b"...")
    lying = finds(tmp_path / "f", a=b"whole")
    done = adopt(lying, expectations(lying, []), shelf, licence=None, trust=True)
    assert set(done.files) == {"a"}
    assert not (shelf.root / ".incoming").exists()


def test_what_is_not_whole_is_refused_and_stays_staged(tmp_path: Path, shelf: Shelf) -> None:
    lying = finds(tmp_path / "f", **{"config.json": b'{"auto_map": 1}', "notes": b"n"})
    with pytest.raises(StoreError, match="auto_map"):
        adopt(lying, expectations(lying, []), shelf, licence=None, trust=True)
    assert shelf.volumes() == ()
    assert (shelf.incoming(REPOSITORY, REVISION) / "notes.part").read_bytes() == b"n"
