"""Folders that are left empty."""

from pathlib import Path

import pytest

from server.store.removal import drop_empty


@pytest.mark.parametrize(
    ("made", "kept", "levels", "left"),
    [
        ("a/b/c", None, 3, []),
        ("a/b/c", None, 2, ["a"]),
        ("a/b", None, 3, []),  # c is gone already: the ones above it go all the same
        ("a/b/c", "a/file", 3, ["a", "a/file"]),
        ("a/b/c", "a/b/c/file", 3, ["a", "a/b", "a/b/c", "a/b/c/file"]),
    ],
)
def test_empty_folders_go_up_to_one_that_is_not(
    tmp_path: Path, made: str, kept: str | None, levels: int, left: list[str]
) -> None:
    (tmp_path / made).mkdir(parents=True)
    if kept:
        (tmp_path / kept).write_bytes(b"")
    drop_empty(tmp_path / "a/b/c", levels)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == left
