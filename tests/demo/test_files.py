"""What is shipped: the files, their sizes, and the card's word on them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from server import demo

LIMIT = 8_000_000  # bytes
SHIPPED = demo.CARD.parent
SAFETENSORS_FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
QWEN_TEMPLATE = "0ef09f214eaa6d9bca297988afc1454b5827b2c7"  # git blob of Qwen3.5-0.8B's


def test_the_folder_has_what_transformers_and_vllm_read() -> None:
    assert sorted(path.name for path in demo.SAFETENSORS.iterdir()) == sorted(SAFETENSORS_FILES)


@pytest.mark.parametrize("path", sorted(p for p in SHIPPED.rglob("*") if p.is_file()), ids=str)
def test_no_file_is_larger_than_8_mb(path: Path) -> None:
    assert path.stat().st_size <= LIMIT


def test_the_card_gives_size_and_sha256_of_each_file() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \| ([\d,]+) \| `([0-9a-f]{64})` \|$", demo.CARD.read_text(), re.MULTILINE
    )
    assert {name for name, _, _ in rows} == {
        demo.GGUF.name,
        demo.QUESTIONS.name,
        "safetensors/model.safetensors",
        "safetensors/tokenizer.json",
    }
    for name, size, digest in rows:
        data = (SHIPPED / name).read_bytes()
        assert (name, f"{len(data):,}", hashlib.sha256(data).hexdigest()) == (name, size, digest)


def test_the_chat_template_is_qwens_byte_for_byte() -> None:
    data = (demo.SAFETENSORS / "chat_template.jinja").read_bytes()
    blob = b"blob %d\0" % len(data) + data
    assert hashlib.sha1(blob, usedforsecurity=False).hexdigest() == QWEN_TEMPLATE
