"""What a copy says of itself: its marker, its receipts, its inventory."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from server.errors import HubError, StoreError
from server.store.copies.copy import MARKER, SIGNATURE, Copy, inventory, open_copy
from server.store.copies.folder import Folder
from server.store.naming import RECEIPT
from tests.store.copies.receipts import REVISION, WHEN, held, receipt

WHOLE = receipt(held("a", 1), held("data/b", 2))
FOLDER = f"org/name/{REVISION}"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return open_copy(str(tmp_path))


def test_a_place_is_no_copy_until_it_is_made_one(copy: Copy) -> None:
    with pytest.raises(StoreError, match="is no copy yet"):
        copy.inventory()
    assert copy.initialize()
    assert not copy.initialize()
    assert copy.receipts() == ()


def test_a_place_that_is_gone_cannot_be_made_one(tmp_path: Path) -> None:
    with pytest.raises(HubError):
        open_copy(str(tmp_path / "gone")).initialize()
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "created": 5}',
     '{"format": 1, "created": "2026-11-21"}', '{"format": 1, "created": "2026-11-21T00:00:00"}',
     '{"format": 1, "created": "2026-11-21T00:00:00Z", "verified": []}',
     '{"format": 1, "created": "2026-11-21T00:00:00Z", "verified": {"a/b@c": "never"}}'],
)  # fmt: skip
def test_a_damaged_marker_is_told(copy: Copy, tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(StoreError, match="is damaged"):
        copy.marker()


def test_when_revisions_were_read_back_is_remembered(copy: Copy) -> None:
    copy.initialize()
    copy.note_verified((WHOLE,), WHEN)
    other = receipt(held("c"), repository="org/other")
    later = WHEN + datetime.timedelta(days=1)
    copy.note_verified((other,), later)
    assert dict(copy.marker().verified) == {
        f"org/name@{REVISION}": WHEN,
        f"org/other@{REVISION}": later,
    }


def test_what_is_sealed_is_in_the_inventory(copy: Copy, tmp_path: Path) -> None:
    copy.initialize()
    copy.seal(WHOLE, b"signature")
    assert copy.receipts() == (WHOLE,)
    assert (tmp_path / FOLDER / SIGNATURE).read_bytes() == b"signature"
    copy.seal(WHOLE)
    assert not (tmp_path / FOLDER / SIGNATURE).exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_receipt_in_another_place_than_it_says_is_damaged(copy: Copy, tmp_path: Path) -> None:
    copy.initialize()
    copy.seal(WHOLE)
    moved = tmp_path / "org" / "elsewhere"
    (tmp_path / "org" / "name").rename(moved)
    found = copy.inventory()
    assert found.receipts == {}
    assert found.damaged == (f"org/elsewhere/{REVISION}/{RECEIPT}",)


def test_what_is_hidden_or_deeper_or_linked_is_no_part_of_it(tmp_path: Path) -> None:
    for path in (f".incoming/{FOLDER}", f"deeper/{FOLDER}", "org/name"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / RECEIPT).write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "org")
    (tmp_path / "org" / "file").symlink_to("/etc/passwd")
    found = inventory(Folder(tmp_path))
    assert (found.receipts, found.damaged) == ({}, ())
    assert set(found.sizes) == {f"deeper/{FOLDER}/{RECEIPT}", f"org/name/{RECEIPT}"}


@pytest.mark.parametrize(
    ("one", "other", "is_in"),
    [("models", "models", True), ("models/copy", "models", True), ("copy", "models", False),
     (".", "models", False), ("link", "models", True), ("models-too", "models", False)],
)  # fmt: skip
def test_the_store_itself_is_no_copy(tmp_path: Path, one: str, other: str, is_in: bool) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "models")
    assert Folder(tmp_path / one).is_in(tmp_path / other) == is_in
