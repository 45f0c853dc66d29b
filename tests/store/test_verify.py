"""What the folders and the bytes of a store show, read from real files."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from server.store.manifest import Expected
from server.store.naming import RECEIPT, SUMS
from server.store.scrub import Budget
from server.store.shelf import Shelf, Volume
from server.store.verify import Claim, Finding, check, choose, inspect, judged
from tests.store.volumes import REVISION, flip, make_volume

FILES = {
    "model-00001-of-00002.safetensors": b"one" * 30_000,
    "model-00002-of-00002.safetensors": b"two" * 20_000,
    "config.json": b"{}",
    "sub/empty.txt": b"",
}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return make_volume(tmp_path, FILES)


def _found(root: Path, jobs: int = 2) -> list[Finding]:
    seen = inspect(Shelf(root).volumes())
    chosen = choose(seen.readings, {}, Budget())
    checked = list(check(chosen, jobs=jobs, on_bytes=lambda count: None))
    assert {one.reading for one in checked} == set(seen.readings)
    return [*seen.findings, *(finding for one in checked for finding in one.findings)]


def _kinds(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(finding.path, finding.kind) for finding in findings}


def test_nothing_is_wrong(volume: Volume, tmp_path: Path) -> None:
    assert _found(tmp_path) == []


def test_an_empty_or_absent_store_has_nothing_to_verify(tmp_path: Path) -> None:
    assert _found(tmp_path) == []
    assert _found(tmp_path / "none") == []


def _truncate(folder: Path) -> None:
    os.truncate(folder / "config.json", 1)


def _lengthen(folder: Path) -> None:
    with (folder / "config.json").open("ab") as file:
        file.write(b" ")


def _unlink(folder: Path) -> None:
    (folder / "sub" / "empty.txt").unlink()


def _fold(folder: Path) -> None:
    (folder / "sub" / "empty.txt").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").write_bytes(b"")


def _link(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


def _add(folder: Path) -> None:
    (folder / "sub" / "more.bin").write_bytes(b"")
    (folder / "there").symlink_to("/")


def _tear(folder: Path) -> None:
    os.truncate(folder / RECEIPT, 100)


def _lose_both(folder: Path) -> None:
    (folder / RECEIPT).unlink()
    (folder / SUMS).unlink()


def _corrupt(folder: Path) -> None:
    flip(folder / "model-00002-of-00002.safetensors", 123_457)


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (_truncate, {("config.json", "wrong size")}),
        (_lengthen, {("config.json", "wrong size")}),
        (_unlink, {("sub/empty.txt", "missing")}),
        (_fold, {("sub/empty.txt", "missing"), ("sub", "extra")}),
        (_link, {("config.json", "not a file")}),
        (_add, {("sub/more.bin", "extra"), ("there", "extra")}),
        (_tear, {(RECEIPT, "damaged")}),
        (_lose_both, {("", "unrecorded")}),
        (_corrupt, {("model-00002-of-00002.safetensors", "damaged")}),
    ],
)
def test_what_is_wrong_is_found(
    happens: Callable[[Path], None],
    expected: set[tuple[str, str]],
    volume: Volume,
    tmp_path: Path,
) -> None:
    for path in volume.folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    happens(volume.folder)
    findings = _found(tmp_path)
    assert _kinds(findings) == expected
    assert all(finding.why for finding in findings)
    harmless = {"extra", "unrecorded"}
    assert [one.is_damage for one in findings] == [one.kind not in harmless for one in findings]


def test_an_unreadable_file_is_told(volume: Volume, tmp_path: Path) -> None:
    claim = Claim(volume, Expected("config.json", "0" * 64, 2))
    (finding,) = judged([claim], OSError(5, "Input/output error"))
    assert (finding.kind, finding.why) == ("unreadable", "Input/output error")


WANTED, OTHER, THIRD = "a" * 64, "b" * 64, "c" * 64


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ((WANTED,), None),
        ((OTHER, OTHER), "damaged"),
        ((OTHER, THIRD), "damaged"),
        ((OTHER, WANTED), "unsteady"),
        (FileNotFoundError(2, "gone"), "missing"),
        (PermissionError(13, "denied"), "unreadable"),
    ],
)
def test_two_readings_tell_rot_from_failing_hardware(
    found: Sequence[str] | OSError, kind: str | None, volume: Volume
) -> None:
    findings = list(judged([Claim(volume, Expected("config.json", WANTED, 2))], found))
    assert [finding.kind for finding in findings] == ([kind] if kind else [])


def test_a_file_shared_by_two_revisions_is_read_once(volume: Volume, tmp_path: Path) -> None:
    shared = "model-00001-of-00002.safetensors"
    other = make_volume(tmp_path, FILES, revision="cd" * 20)
    (other.folder / shared).unlink()
    os.link(volume.folder / shared, other.folder / shared)
    readings = inspect(Shelf(tmp_path).volumes()).readings
    assert len(readings) == 2 * len(FILES) - 1
    flip(volume.folder / shared, 1)
    damaged = {(one.revision, one.path) for one in _found(tmp_path)}
    assert damaged == {(REVISION, shared), ("cd" * 20, shared)}


def test_what_is_removed_meanwhile_is_not_missed(volume: Volume, tmp_path: Path) -> None:
    other = make_volume(tmp_path, {"a.gguf": b"a"}, revision="cd" * 20)
    readings = inspect(Shelf(tmp_path).volumes()).readings
    shutil.rmtree(other.folder)
    (volume.folder / "config.json").unlink()
    checked = check(readings, jobs=1, on_bytes=lambda count: None)
    findings = [finding for one in checked for finding in one.findings]
    assert _kinds(findings) == {("config.json", "missing")}


def test_a_receipt_that_is_being_written_is_waited_for(volume: Volume, tmp_path: Path) -> None:
    """SHA256SUMS is written first: in between, the two disagree."""
    receipt = (volume.folder / RECEIPT).read_bytes()
    more = make_volume(tmp_path / "more", {**FILES, "new.gguf": b"new"}).folder
    shutil.copy(more / "new.gguf", volume.folder)
    (volume.folder / SUMS).unlink()
    shutil.copy(more / SUMS, volume.folder)
    writer = threading.Timer(0.1, lambda: os.replace(more / RECEIPT, volume.folder / RECEIPT))
    writer.start()
    assert _found(tmp_path) == []
    writer.join()
    assert (volume.folder / RECEIPT).read_bytes() != receipt


def test_the_budget_bounds_what_is_read(volume: Volume, tmp_path: Path) -> None:
    readings = inspect(Shelf(tmp_path).volumes()).readings
    (first,) = choose(readings, {}, Budget(bytes=1))
    assert first.path.name == "model-00001-of-00002.safetensors"
    assert list(check(readings, jobs=2, on_bytes=lambda count: None, seconds=0)) == []


def test_leaving_early_ends_the_reading(tmp_path: Path) -> None:
    make_volume(tmp_path, {f"{n}.gguf": bytes([n]) * 1_000_000 for n in range(20)})
    begun: list[int] = []
    checking = check(inspect(Shelf(tmp_path).volumes()).readings, jobs=2, on_bytes=begun.append)
    next(checking)
    checking.close()  # waits for the threads
    count = len(begun)
    assert count < 20
    assert next(checking, None) is None
    assert len(begun) == count


def test_it_only_reads(volume: Volume, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert _found(tmp_path) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.integration
def test_a_thousand_flipped_bits_are_all_found(tmp_path: Path) -> None:
    """One flip in each of a thousand files, at any place in it: exactly these are found."""
    chance = random.Random(20261121)
    files = {f"part-{n:04}.gguf": chance.randbytes(chance.randrange(1, 3000)) for n in range(1100)}
    folder = make_volume(tmp_path, files).folder
    chosen = set(chance.sample(sorted(files), 1000))
    for name in chosen:
        flip(folder / name, chance.randrange(8 * len(files[name])))
    findings = _found(tmp_path)
    assert {finding.path for finding in findings} == chosen
    assert {finding.kind for finding in findings} == {"damaged"}
