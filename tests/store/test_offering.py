"""What is offered, by receipts as they lie on a disk."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from server.store.digest import blob_oid, lfs_pointer_oid
from server.store.offering import Offering, chosen
from server.store.receipt import Held, Receipt, write_receipt

A, B = "a" * 40, "ab" * 20
SHA = "5" * 64


def hold(
    root: Path,
    repository: str = "Org/Name",
    revision: str = A,
    files: Iterable[Held] = (Held("config.json", 2, SHA, "1" * 40),),
    day: int = 1,
) -> Path:
    folder = root / repository / revision
    folder.mkdir(parents=True, exist_ok=True)
    fetched = datetime.datetime(2026, 11, day, tzinfo=datetime.UTC)
    write_receipt(folder, Receipt(repository, revision, "test", fetched, tuple(files), "mit"))
    return folder


def test_nothing_is_offered_where_there_is_nothing(tmp_path: Path) -> None:
    assert Offering(tmp_path / "absent").read().repositories == {}


def test_only_what_a_receipt_names_is_offered(tmp_path: Path) -> None:
    folder = hold(tmp_path)
    (folder / "config.json").write_text("{}")
    (folder / "secret.txt").write_text("not in the receipt")
    (tmp_path / "Org" / "Other" / B).mkdir(parents=True)
    (revision,) = Offering(tmp_path).read().repository("Org/Name")
    assert (revision.repository, revision.revision, revision.licence) == ("Org/Name", A, "mit")
    assert list(revision.files) == ["config.json"]
    assert revision.files["config.json"].location == folder / "config.json"
    assert list(Offering(tmp_path).read().repositories) == ["Org/Name"]


def test_folders_of_the_store_s_own_are_not_offered(tmp_path: Path) -> None:
    folder = hold(tmp_path / ".damaged", "Org/Name")
    assert folder.is_dir()
    hold(tmp_path / ".incoming" / "Org", "Org/Name")
    assert Offering(tmp_path).read().repositories == {}


@pytest.mark.parametrize(
    ("held", "lfs", "etag", "oid"),
    [
        (Held("a", 9, SHA, "1" * 40, lfs=False), False, "1" * 40, "1" * 40),
        (Held("a", 9, SHA, "2" * 40, lfs=True), True, SHA, "2" * 40),
        # Not of the hub, such as a licence that was added: known by its sha256 alone.
        (Held("a", 9, SHA, None, lfs=False), True, SHA, lfs_pointer_oid(SHA, 9)),
    ],
)
def test_how_a_file_is_known(tmp_path: Path, held: Held, lfs: bool, etag: str, oid: str) -> None:
    hold(tmp_path, files=[held])
    file = Offering(tmp_path).read().repository("Org/Name")[0].files["a"]
    assert (file.lfs, file.etag, file.git_oid) == (lfs, etag, oid)


def test_main_is_what_was_fetched_last_and_commits_may_be_shortened(tmp_path: Path) -> None:
    hold(tmp_path, revision=A, day=2)
    hold(tmp_path, revision=B, day=1)
    revisions = Offering(tmp_path).read().repository("Org/Name")
    found = {
        name: getattr(chosen(revisions, name), "revision", None)
        for name in ("main", A, B, "aaaa", "abab", "a", "aa", "", "b" * 40, "master", A + "a", "..")
    }
    assert found == dict.fromkeys(found) | {"main": A, A: A, B: B, "aaaa": A, "abab": B}


def test_a_beginning_of_two_commits_is_none_of_them(tmp_path: Path) -> None:
    hold(tmp_path, revision="abcd" + "0" * 36)
    hold(tmp_path, revision="abcd" + "1" * 36)
    revisions = Offering(tmp_path).read().repository("Org/Name")
    assert chosen(revisions, "abcd") is None
    assert chosen(revisions, "abcd1") is not None


def test_case_does_not_matter_unless_two_differ_in_it_alone(tmp_path: Path) -> None:
    hold(tmp_path, "Org/Name")
    read = Offering(tmp_path).read
    assert read().repository("org/NAME")
    hold(tmp_path, "Org/NAME")
    assert read().repository("org/name") == ()
    assert read().repository("Org/NAME")[0].repository == "Org/NAME"


def test_it_notices_what_comes_changes_and_goes(tmp_path: Path) -> None:
    offering = Offering(tmp_path)
    assert offering.read().repositories == {}
    folder = hold(tmp_path)
    first = offering.read()
    assert list(first.repository("Org/Name")[0].files) == ["config.json"]
    assert offering.read() is first
    hold(tmp_path, files=[Held("other.json", 2, SHA, "1" * 40)])
    assert list(offering.read().repository("Org/Name")[0].files) == ["other.json"]
    for path in folder.iterdir():
        path.unlink()
    assert offering.read().repositories == {}


def test_a_damaged_or_misplaced_receipt_is_told_and_the_rest_offered(tmp_path: Path) -> None:
    hold(tmp_path, "Org/Good")
    damaged = hold(tmp_path, "Org/Bad") / "holdfast.json"
    damaged.chmod(0o644)
    damaged.write_text("{")
    os.rename(hold(tmp_path, "Org/Moved"), tmp_path / "Org" / "Moved" / B)
    offering = Offering(tmp_path)
    assert list(offering.read().repositories) == ["Org/Good"]
    assert len(offering.problems) == 2
    assert "Org/Bad" in offering.problems[0]
    assert "Org/Moved" in offering.problems[1]
    offering.read()
    assert len(offering.problems) == 2


def test_a_receipt_that_leads_out_of_its_folder_is_not_believed(tmp_path: Path) -> None:
    receipt = hold(tmp_path) / "holdfast.json"
    receipt.chmod(0o644)
    receipt.write_text(receipt.read_text().replace("config.json", "../../../../etc/passwd"))
    offering = Offering(tmp_path)
    assert offering.read().repositories == {}
    assert "refused" in offering.problems[0]


def test_a_blob_s_id_is_git_s() -> None:
    assert blob_oid(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
