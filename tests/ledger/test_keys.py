import multiprocessing
import re
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.ledger.keys import KeyBook


@pytest.fixture
def book(tmp_path: Path) -> KeyBook:
    return KeyBook(tmp_path / "home" / "keys.json")


def test_no_key_is_required_until_one_exists(book: KeyBook) -> None:
    assert not book.required()
    book.create("laptop")
    assert book.required()


def test_revoking_the_last_key_does_not_open_the_door(book: KeyBook) -> None:
    _, text = book.create("laptop")
    book.revoke("laptop")
    assert book.required()
    assert book.authenticate(text) is None


def test_a_created_key_authenticates_and_nothing_like_it_does(book: KeyBook) -> None:
    key, text = book.create("laptop")
    assert re.fullmatch(r"sk-holdfast-[0-9a-f]{8}-[A-Za-z0-9_-]{43}", text)
    assert book.authenticate(text) == key
    wrong = [text[:-1], text + "x", text.upper(), "", "sk-holdfast-", key.id, key.sha256, "\udcff"]
    assert [book.authenticate(attempt) for attempt in wrong] == [None] * len(wrong)


def test_only_the_hash_is_kept_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    _, text = KeyBook(path).create("laptop")
    secret = text.rpartition("-")[2]
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_running_book_sees_what_another_process_did(tmp_path: Path) -> None:
    serving, command = KeyBook(tmp_path / "keys.json"), KeyBook(tmp_path / "keys.json")
    _, text = command.create("laptop")
    assert serving.authenticate(text) is not None
    command.revoke("laptop")
    assert serving.authenticate(text) is None


@pytest.mark.parametrize("name", ["", " x", "a" * 65, "tab\there", "../x", "ключ"])
def test_a_bad_name_is_refused(book: KeyBook, name: str) -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        book.create(name)


def test_a_name_is_free_again_once_revoked(book: KeyBook) -> None:
    first, _ = book.create("laptop")
    with pytest.raises(ConfigError, match="exists already"):
        book.create("laptop")
    book.revoke(first.id)
    second, _ = book.create("laptop")
    assert [key.id for key in book.all()] == [first.id, second.id]


def test_revoking_the_unknown_names_the_live_ones(book: KeyBook) -> None:
    book.create("laptop")
    with pytest.raises(ConfigError, match="Live keys: laptop"):
        book.revoke("phone")


def test_a_damaged_file_is_an_error_and_no_open_door(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"keys": [{"id": 1}]}')
    with pytest.raises(ConfigError, match=r"keys\.json cannot be read"):
        KeyBook(path).required()


def _create(path: Path, name: str) -> None:
    KeyBook(path).create(name)


def test_keys_created_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_create, [(path, f"key{i}") for i in range(12)])
    assert sorted(key.name for key in KeyBook(path).all()) == sorted(f"key{i}" for i in range(12))
