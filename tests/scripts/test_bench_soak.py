"""The soak's own eyes: what is wrong in a store is seen."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.benchmarks.soak import NAME, wrong
from server.store.transfer.journal import Journal

SEGMENT = 1000
RIGHT = {"a.safetensors": bytes(range(256)) * 10, "config.json": b"{}"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """One revision that can be seen, and one under way."""
    for folder in (f"models/{NAME}/{'ab' * 20}", f"models/.incoming/{NAME}/{'cd' * 20}"):
        (tmp_path / folder).mkdir(parents=True)
    for name, content in RIGHT.items():
        (seen(tmp_path) / name).write_bytes(content)
    content = RIGHT["a.safetensors"]
    part(tmp_path).write_bytes(content[:SEGMENT] + bytes(SEGMENT))
    journal = Journal(part(tmp_path), {"bytes": len(content), "sha256": None, "git_oid": None})
    journal.begin(SEGMENT, {0: zlib.crc32(content[:SEGMENT])})
    journal.close()
    return tmp_path


def seen(home: Path) -> Path:
    return home / "models" / NAME / ("ab" * 20)


def part(home: Path) -> Path:
    return home / "models" / ".incoming" / NAME / ("cd" * 20) / "a.safetensors.part"


def flipped(home: Path) -> None:
    path = seen(home) / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def vouched(home: Path) -> None:
    with part(home).with_name("a.safetensors.part.journal").open("a") as journal:
        journal.write(f"1 {zlib.crc32(bytes(SEGMENT)):08x}\n")


def torn(home: Path) -> None:
    part(home).write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda home: None, []),
        (torn, []),  # a power cut; the crc32 shows it
        (lambda home: (seen(home) / "config.json").unlink(), ["config.json is missing"]),
        (flipped, ["a.safetensors has wrong bytes"]),
        (vouched, ["a.safetensors.part: segment 1 is vouched for and wrong"]),
    ],
)
def test_what_is_wrong_is_seen(home: Path, harm: Callable[[Path], None], told: list[str]) -> None:
    harm(home)
    found = wrong(home, RIGHT, journals=True)
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True))
