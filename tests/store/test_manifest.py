"""The receipt and SHA256SUMS held against each other, with every bit of both flipped in turn."""

from __future__ import annotations

import datetime
import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.manifest import Expected, Manifest, manifest, read_manifest
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Held, Receipt, encode, sums, write_receipt

_REPOSITORY, _REVISION = "acme/tiny", "ab" * 20
_CONTENTS = {"a.safetensors": b"a" * 100, "folder/b.json": b"{}", "README.md": b"read me"}
RECEIPT_OF_TINY = Receipt(
    repository=_REPOSITORY,
    revision=_REVISION,
    source="https://hub.example",
    fetched=datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC),
    files=tuple(
        Held(path, len(data), hashlib.sha256(data).hexdigest(), "cd" * 20)
        for path, data in sorted(_CONTENTS.items())
    ),
    licence="apache-2.0",
)
_WHOLE = encode(RECEIPT_OF_TINY)
_LISTED = sums(RECEIPT_OF_TINY).encode()
_EXPECTED = tuple(Expected(one.path, one.sha256, one.bytes) for one in RECEIPT_OF_TINY.files)


def _read(receipt: bytes | str = _WHOLE, listed: bytes | str = _LISTED) -> Manifest:
    return manifest(receipt, listed, _REPOSITORY, _REVISION)


def _flipped(data: bytes, bit: int) -> bytes:
    return bytes(
        byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(data)
    )


def test_whole() -> None:
    read = _read()
    assert (read.files, dict(read.damage)) == (_EXPECTED, {})
    assert read.trusted == RECEIPT_OF_TINY


@given(st.integers(0, 8 * len(_WHOLE) - 1))
def test_any_flipped_bit_of_the_receipt_is_found_and_the_sums_are_believed(bit: int) -> None:
    read = _read(receipt=_flipped(_WHOLE, bit))
    assert set(read.damage) == {RECEIPT}
    assert read.trusted is None
    assert {(one.path, one.sha256) for one in read.files} == {
        (one.path, one.sha256) for one in _EXPECTED
    }


@given(st.integers(0, 8 * len(_LISTED) - 1))
def test_any_flipped_bit_of_the_sums_is_found_and_the_receipt_is_believed(bit: int) -> None:
    read = _read(listed=_flipped(_LISTED, bit))
    assert set(read.damage) == {SUMS}
    assert read.files == _EXPECTED
    assert read.trusted == RECEIPT_OF_TINY


@given(st.integers(0, 8 * len(_WHOLE) - 1), st.integers(0, 8 * len(_LISTED) - 1))
def test_damage_to_both_is_found(bit: int, other: int) -> None:
    read = _read(_flipped(_WHOLE, bit), _flipped(_LISTED, other))
    assert read.damage
    assert read.trusted != RECEIPT_OF_TINY


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_stands_there_is_read_without_an_error(receipt: bytes, listed: bytes) -> None:
    assert set(_read(receipt, listed).damage) == {RECEIPT, SUMS}


@pytest.mark.parametrize(
    ("receipt", "listed", "damaged", "files"),
    [
        (_WHOLE, "it is missing", {SUMS}, _EXPECTED),
        ("it is missing", _LISTED, {RECEIPT}, tuple(
            Expected(one.path, one.sha256, None) for one in _EXPECTED
        )),
        ("it is missing", "it is missing", {RECEIPT, SUMS}, ()),
        (_WHOLE[: len(_WHOLE) // 2], _LISTED[:-30], {RECEIPT, SUMS}, tuple(
            Expected(one.path, one.sha256, None) for one in _EXPECTED
        )),
        (_WHOLE, b"", {SUMS}, _EXPECTED),
        (_WHOLE, _LISTED + b"0" * 64 + b"  ../../etc/passwd\n", {SUMS}, _EXPECTED),
    ],
    ids=["no sums", "no receipt", "neither", "both cut", "empty sums", "a path that leaves"],
)  # fmt: skip
def test_what_is_left_is_used(
    receipt: bytes | str, listed: bytes | str, damaged: set[str], files: tuple[Expected, ...]
) -> None:
    read = _read(receipt, listed)
    assert set(read.damage) == damaged
    assert read.files == files
    assert read.is_empty == (receipt == listed)


def test_a_receipt_in_the_wrong_folder_is_not_believed() -> None:
    read = manifest(_WHOLE, _LISTED, "acme/other", _REVISION)
    assert read.damage == {RECEIPT: f"it is that of acme/tiny@{_REVISION}"}


def test_no_path_of_the_sums_leaves_the_folder() -> None:
    read = _read("it is missing", b"0" * 64 + b"  ../x\n" + b"1" * 64 + b"  /y\n")
    assert read.files == ()


def test_sha256sum_accepts_a_folder_with_its_receipt(tmp_path: Path) -> None:
    folder = tmp_path / _REPOSITORY / _REVISION
    for path, data in _CONTENTS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    write_receipt(folder, RECEIPT_OF_TINY)
    assert read_manifest(folder) == _read()
    command = ["sha256sum", "--check", "--strict", SUMS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert f"{RECEIPT}: OK" in done.stdout
