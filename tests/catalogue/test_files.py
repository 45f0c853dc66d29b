"""Files in many parts, written compactly."""

from __future__ import annotations

import pytest

from server.catalogue import File
from server.catalogue.files import expand

A, B = "a" * 64, "b" * 64


def test_one_file() -> None:
    assert expand({"path": "a.gguf", "bytes": 3, "sha256": A}) == (File("a.gguf", 3, A),)
    assert expand({"path": "a.gguf"}) == (File("a.gguf", None, None),)


def test_parts() -> None:
    row = {"path": "m-#####-of-00002.gguf", "parts": 2}
    first, second = "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"
    assert expand(row) == (File(first), File(second))
    assert expand({**row, "part_bytes": (1, 2), "part_sha256": (A, B)}) == (
        File(first, 1, A),
        File(second, 2, B),
    )


@pytest.mark.parametrize(
    "row",
    [
        {"path": "m-#####.gguf"},
        {"path": "m.gguf", "parts": 2},
        {"path": "m-#####-#####.gguf", "parts": 2},
        {"path": "m-#####.gguf", "parts": 2, "bytes": 3},
        {"path": "m-#####.gguf", "parts": 2, "part_bytes": (1,)},
        {"path": "m-#####.gguf", "parts": 2, "part_sha256": (A, B, A)},
        {"path": "m.gguf", "part_bytes": (1,)},
    ],
)
def test_rows_that_contradict_themselves(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        expand(row)
