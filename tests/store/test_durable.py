from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import StoreError
from server.store.durable import write_whole


def test_it_replaces_even_what_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o444
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "absent" / "file", tmp_path / "taken"):
        with pytest.raises(StoreError, match="cannot be written"):
            write_whole(path, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
