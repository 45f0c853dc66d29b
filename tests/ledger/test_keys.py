import hashlib
import json
import multiprocessing
import re
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue.router import Limits
from server.errors import ConfigError
from server.ledger.keys import ORDINARY, KeyBook, Terms


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
    secret = text.split("-", 3)[3]  # which may have dashes of its own
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


def test_what_a_key_may_do_is_kept_and_changed_without_a_new_secret(book: KeyBook) -> None:
    terms = Terms(
        role="admin", team="lab", limits=Limits(day=5, rpm=3), models=("auto", "qwen3.5-*"),
        local_only=True, keep_text=True,
    )  # fmt: skip
    key, text = book.create("laptop", terms)
    assert key.terms == terms
    assert book.authenticate(text) == key
    changed = book.change(key.id, lambda before: replace(before, limits=Limits(tpm=7)))
    assert changed.terms == replace(terms, limits=Limits(tpm=7))
    assert book.authenticate(text) == changed == book.get(key.id)
    with pytest.raises(ConfigError, match="no live key"):
        book.change("phone", lambda before: before)


def test_a_key_of_an_older_holdfast_may_do_everything(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    digest = hashlib.sha256(b"sk-holdfast-ab12cd34-secret").hexdigest()
    record = {
        "id": "ab12cd34", "name": "old", "sha256": digest, "created": "2026-10-01T00:00:00+00:00",
        "revoked": None,
    }  # fmt: skip
    path.write_text(json.dumps({"keys": [record]}))
    key = KeyBook(path).authenticate("sk-holdfast-ab12cd34-secret")
    assert key is not None
    assert key.terms == ORDINARY
    assert key.allows("anything")


@pytest.mark.parametrize(
    ("models", "name", "allowed"),
    [
        (None, "cloud/large", True),
        ((), "auto", False),
        (("auto",), "auto", True),
        (("auto",), "automatic", False),
        (("cloud/*",), "cloud/large", True),
        (("cloud/*",), "qwen3.5-9b", False),
        (("qwen3.5-*", "auto"), "qwen3.5-9b:q4_k_m", True),
        (("QWEN*",), "qwen3.5-9b", False),
    ],
)
def test_the_models_that_a_key_may_ask_for(
    book: KeyBook, models: tuple[str, ...] | None, name: str, allowed: bool
) -> None:
    key, _ = book.create("laptop", Terms(models=models))
    assert key.allows(name) == allowed


def test_a_damaged_file_is_an_error_and_no_open_door(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"keys": [{"id": 1}]}')
    with pytest.raises(ConfigError, match=r"keys\.json cannot be read"):
        KeyBook(path).required()


@pytest.mark.parametrize("content", ['{"keys": []}', '{"keys": [{"id": 1}]}', ""])
def test_a_file_that_goes_away_opens_no_door(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    serving = KeyBook(path)
    path.unlink()
    assert serving.required()
    assert serving.gone
    assert not KeyBook(path).required(), "what starts anew knows nothing of it"


def test_a_file_that_comes_back_counts_again(tmp_path: Path) -> None:
    path, aside = tmp_path / "keys.json", tmp_path / "aside.json"
    book = KeyBook(path)
    assert not book.gone
    _, text = book.create("laptop")
    assert book.authenticate(text) is not None
    path.rename(aside)
    assert book.authenticate(text) is None
    assert (book.required(), book.gone, book.all()) == (True, True, ())
    aside.rename(path)
    assert (book.gone, book.authenticate(text)) == (False, *book.all())


def _create(path: Path, name: str) -> None:
    KeyBook(path).create(name)


@pytest.mark.integration
def test_keys_created_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_create, [(path, f"key{i}") for i in range(12)])
    assert sorted(key.name for key in KeyBook(path).all()) == sorted(f"key{i}" for i in range(12))
