"""Receipts: written, read back, checked by sha256sum, and refused when they are not sound."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from server.errors import StoreError
from server.store.receipt import Held, Receipt, encode, parse, read_receipt, write_receipt

RECEIPT = Receipt(
    repository="Qwen/Qwen3.5-0.8B",
    revision="2fc06364715b967f1860aea9cf38778875588b17",
    source="https://huggingface.co",
    fetched=datetime(2026, 11, 21, 4, 5, 6, tzinfo=UTC),
    files=(
        Held("BF16/ü b.gguf", 3, hashlib.sha256(b"abc").hexdigest(), "1" * 40, lfs=True),
        Held("config.json", 2, hashlib.sha256(b"{}").hexdigest(), "2" * 40),
    ),
    licence="apache-2.0",
)


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_receipt(tmp_path, RECEIPT)
    assert read_receipt(tmp_path) == RECEIPT
    assert RECEIPT.bytes == 5
    assert RECEIPT.file("config.json") == RECEIPT.files[1]
    assert RECEIPT.file("none") is None
    assert read_receipt(tmp_path / "none") is None


def test_files_are_sorted(tmp_path: Path) -> None:
    shuffled = replace(RECEIPT, files=RECEIPT.files[::-1])
    assert encode(shuffled) == encode(RECEIPT)
    assert parse(encode(shuffled)) == RECEIPT


def test_sha256sum_accepts_the_sums_and_finds_a_changed_byte(tmp_path: Path) -> None:
    (tmp_path / "BF16").mkdir()
    (tmp_path / "BF16" / "ü b.gguf").write_bytes(b"abc")
    (tmp_path / "config.json").write_bytes(b"{}")
    write_receipt(tmp_path, RECEIPT)
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "config.json").write_bytes(b"{ ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


def test_a_name_that_leads_out_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is refused"):
        write_receipt(tmp_path, replace(RECEIPT, files=(Held("../x", 1, "0" * 64),)))
    assert list(tmp_path.iterdir()) == []


def changed(**fields: Any) -> bytes:
    return orjson.dumps({**orjson.loads(encode(RECEIPT)), **fields})


def with_file(**fields: Any) -> bytes:
    first, *rest = orjson.loads(encode(RECEIPT))["files"]
    return changed(files=[{**first, **fields}, *rest])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "unexpected end"),
        (b"[]", "not a receipt of format 1"),
        (changed(format=2), "not a receipt of format 1"),
        (changed(repository="../.."), "repository"),
        (changed(repository="one"), "repository"),
        (changed(revision="main"), "revision"),
        (changed(source=""), "source"),
        (changed(source="a\nb"), "source"),
        (changed(licence=7), "licence"),
        (changed(fetched="yesterday"), "isoformat"),
        (changed(fetched="2026-11-21T04:05:06"), "no zone"),
        (changed(files={}), "lists no files"),
        (changed(files=["x"]), "not described by a table"),
        (with_file(path="../../etc/passwd"), "is refused"),
        (with_file(path="/etc/passwd"), "is refused"),
        (with_file(path=["x"]), "path"),
        (with_file(path="config.json"), "stands twice"),
        (with_file(path="CONFIG.json"), "collide"),
        (with_file(bytes=-1), "no size"),
        (with_file(bytes=True), "no size"),
        (with_file(bytes="3"), "no size"),
        (with_file(bytes=2**63), "no size"),
        (with_file(sha256="0" * 63), "sha256"),
        (with_file(sha256="G" * 64), "sha256"),
        (with_file(git_oid="x"), "git_oid"),
    ],
)
def test_what_is_not_sound_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "holdfast.json").write_bytes(data)
    with pytest.raises(StoreError) as caught:
        read_receipt(tmp_path)
    assert why in caught.value.why
    assert "holdfast.json is damaged" in caught.value.what


def test_a_receipt_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "holdfast.json").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        read_receipt(tmp_path)
