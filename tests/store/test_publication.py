"""What makes a revision visible: all at once, the receipt last, and never less than whole."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from server.errors import StoreError
from server.store.receipt import Held, read_receipt
from server.store.shelf import Arrival, Shelf
from tests.store.shelves import FILES, OTHER, REPOSITORY, REVISION, published, stage


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


def publish(shelf: Shelf, arrivals: list[Arrival], licence: str | None = None) -> None:
    shelf.publish(REPOSITORY, REVISION, arrivals, source="a test", licence=licence)


def test_a_new_revision(shelf: Shelf) -> None:
    volume = published(shelf)
    for path, content in FILES.items():
        assert (volume.folder / path).read_bytes() == content
        assert (volume.folder / path).stat().st_mode & 0o777 == 0o444
        assert (volume.folder / path).stat().st_nlink == 1
    assert volume.receipt is not None
    assert [held.path for held in volume.receipt.files] == sorted(FILES)
    assert (volume.receipt.source, volume.receipt.licence) == ("a test", None)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=volume.folder)
    assert checked.returncode == 0
    assert [path.name for path in shelf.root.iterdir()] == ["Qwen"]


def test_more_files_join_a_revision(shelf: Shelf) -> None:
    published(shelf, licence="mit")
    more = stage(shelf, {"q8/b": b"b"})
    under_way = stage(shelf, {"q8/c": b"c"})[0].staged
    publish(shelf, more)
    receipt = read_receipt(shelf.folder(REPOSITORY, REVISION))
    assert receipt is not None
    assert [held.path for held in receipt.files] == sorted([*FILES, "q8/b"])
    assert receipt.licence == "mit"
    assert under_way.exists()
    assert not more[0].staged.exists()


def test_a_damaged_file_is_replaced(shelf: Shelf) -> None:
    volume = published(shelf)
    path = volume.folder / "config.json"
    path.unlink()
    path.write_bytes(b"{ ")
    publish(shelf, stage(shelf, {"config.json": b"{}"}))
    assert path.read_bytes() == b"{}"
    assert path.stat().st_mode & 0o777 == 0o444


def test_what_somebody_put_there_is_set_aside(shelf: Shelf) -> None:
    folder = shelf.folder(REPOSITORY, REVISION)
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "notes.txt").write_bytes(b"mine")
    published(shelf)
    assert (folder / "sub" / "notes.txt").read_bytes() == b"hello"
    (aside,) = (shelf.damaged(REPOSITORY, REVISION) / "sub").iterdir()
    assert aside.read_bytes() == b"mine"


# ---- The licence ----


@pytest.mark.parametrize(
    ("licence", "name", "added"),
    [
        ("apache-2.0", "README.md", True),
        ("Apache-2.0", "README.md", True),
        ("apache-2.0", "LICENSE", False),
        ("apache-2.0", "License.md", False),
        ("apache-2.0", "sub/LICENSE", True),
        ("mit", "README.md", False),
        (None, "README.md", False),
    ],
)
def test_the_licence_is_added_where_there_is_none(
    shelf: Shelf, licence: str | None, name: str, added: bool
) -> None:
    volume = published(shelf, {name: b"text"}, licence=licence)
    assert volume.receipt is not None
    own = volume.receipt.file("LICENSE") if name != "LICENSE" else None
    assert (own is not None) == added
    if own is not None:
        text = (volume.folder / "LICENSE").read_bytes()
        assert b"Apache License" in text
        assert own.sha256 == hashlib.sha256(text).hexdigest()


# ---- Refusals ----


def refused(shelf: Shelf, arrivals: list[Arrival], why: str) -> None:
    """The arrivals are refused, nothing has changed, and what was staged is still there."""
    folder = shelf.folder(REPOSITORY, REVISION)
    before = read_receipt(folder)
    staged = [arrival.staged for arrival in arrivals if arrival.staged.exists()]
    with pytest.raises(StoreError) as caught:
        publish(shelf, arrivals)
    assert why in caught.value.sentence
    assert read_receipt(folder) == before
    assert folder.exists() == (before is not None)
    assert all(path.exists() for path in staged)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["../../x"], "is refused"),
        (["a\nb"], "is refused"),
        (["model.bin"], "pickle"),
        (["model.py"], "is code"),
        (["holdfast.json"], "of its own"),
        (["a", "A"], "cannot lie in one folder"),
        (["a", "a/b"], "cannot lie in one folder"),
    ],
)
def test_names(shelf: Shelf, names: list[str], why: str) -> None:
    good = stage(shelf, {f"file-{number}": b"x" for number in range(len(names))})
    bad = [
        replace(arrival, held=replace(arrival.held, path=name))
        for arrival, name in zip(good, names, strict=True)
    ]
    refused(shelf, bad, why)


def test_a_name_twice(shelf: Shelf) -> None:
    (one,) = stage(shelf, {"a": b"x"})
    refused(shelf, [one, one], "arrives twice")


def test_a_name_that_collides_with_one_that_is_held(shelf: Shelf) -> None:
    published(shelf)
    refused(shelf, stage(shelf, {"readme.md": b"x"}), "cannot lie in one folder")


def test_another_size(shelf: Shelf) -> None:
    (one,) = stage(shelf, {"a": b"x"})
    refused(shelf, [replace(one, held=replace(one.held, bytes=2))], "has 1 bytes, and should have")


def test_a_staged_file_that_is_gone(shelf: Shelf) -> None:
    held = Held("a", 1, "0" * 64)
    refused(shelf, [Arrival(held, shelf.root / "none")], "is gone")


def test_a_symbolic_link(shelf: Shelf) -> None:
    (one,) = stage(shelf, {"a": b"x"})
    one.staged.rename(shelf.root / "elsewhere")
    one.staged.symlink_to(shelf.root / "elsewhere")
    refused(shelf, [one], "is a link")


def test_other_bytes_under_the_same_revision(shelf: Shelf) -> None:
    volume = published(shelf)
    refused(shelf, stage(shelf, {"README.md": b"# other"}), "changed under the same revision")
    assert (volume.folder / "README.md").read_bytes() == b"# card"


def test_what_is_not_whole(shelf: Shelf) -> None:
    refused(shelf, stage(shelf, {"m-00001-of-00002.safetensors": b"x"}), "is not whole")
    published(shelf)
    refused(shelf, stage(shelf, {"w.safetensors": b"x"}), "is not whole")
    refused(shelf, stage(shelf, {"a/config.json": b'{"auto_map": {}}'}), "auto_map")


def test_of_two_damaged_files_one_can_be_mended(shelf: Shelf) -> None:
    empty = b"\x02\0\0\0\0\0\0\0{}"
    volume = published(shelf, {"a.safetensors": empty, "b.safetensors": empty})
    for name in ("a.safetensors", "b.safetensors"):
        (volume.folder / name).unlink()
    publish(shelf, stage(shelf, {"a.safetensors": empty}))
    assert (volume.folder / "a.safetensors").read_bytes() == empty


def test_a_store_that_cannot_be_written_is_told(shelf: Shelf) -> None:
    arrivals = stage(shelf)
    (shelf.root / "Qwen").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be"):
        publish(shelf, arrivals)


# ---- Killed ----

CHANGES = ("open", "os.link", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod")
"""What Python audits of the calls that change the disk (and reading, which does no harm)."""


@pytest.mark.integration
@pytest.mark.parametrize("there", [False, True], ids=["new", "added to"])
def test_killed_at_every_step_it_shows_all_or_nothing_and_loses_nothing(
    tmp_path: Path, there: bool
) -> None:
    """Every call that changes the disk is a point at which the process is killed once."""
    ended = None
    step = 0
    while ended != 0:
        step += 1
        shelf = Shelf(tmp_path / str(step))
        old = {"old.txt": b"old"} if there else {}
        if there:
            published(shelf, old)
        ended = _published_by_a_child(shelf, step)
        assert ended in (0, -signal.SIGKILL)
        receipt = read_receipt(shelf.folder(REPOSITORY, REVISION))
        visible = {held.path for held in receipt.files} if receipt else set()
        assert visible in ({*old}, {*old, *FILES, "LICENSE"})
        for path in visible - {"LICENSE"}:
            content = (FILES | {"old.txt": b"old"})[path]
            assert (shelf.folder(REPOSITORY, REVISION) / path).read_bytes() == content
        staged = shelf.incoming(REPOSITORY, REVISION)
        kept = [path for path in FILES if (staged / f"{path}.part").is_file()]
        assert kept == list(FILES) or visible >= FILES.keys()
        publish(shelf, stage(shelf), "apache-2.0")
        volume = shelf.volume(REPOSITORY, REVISION)
        assert volume is not None
        assert {held.path for held in volume.receipt.files} == {*old, *FILES, "LICENSE"}  # type: ignore[union-attr]
        assert not (shelf.root / ".incoming").exists()
        assert not list(volume.folder.rglob(".*"))
    assert step > 20


def _published_by_a_child(shelf: Shelf, step: int) -> int:
    """Forks, publishes, and is killed at the given step; the exit status."""
    arrivals = stage(shelf)
    child = os.fork()
    if child == 0:
        steps = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal steps
            if event in CHANGES:
                steps += 1
                if steps == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            publish(shelf, arrivals, "apache-2.0")
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_same_content_in_another_revision_is_no_matter(shelf: Shelf) -> None:
    published(shelf)
    other = published(shelf, revision=OTHER)
    assert other.receipt is not None
    assert len(shelf.volumes(REPOSITORY)) == 2
