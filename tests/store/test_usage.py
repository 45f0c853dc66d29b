from __future__ import annotations

import os
from pathlib import Path

from server.store.shelf import Shelf
from server.store.usage import Seen, Usage, missing, usage
from tests.store.shelves import FILES, published


def test_a_file_with_two_names_is_on_the_disk_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "sub").mkdir(parents=True)
    two.mkdir()
    (one / "sub" / "a").write_bytes(b"x" * 10_000)
    os.link(one / "sub" / "a", two / "a")
    (two / "link").symlink_to(one / "sub" / "a")
    disk = (one / "sub" / "a").stat().st_blocks * 512
    seen: Seen = set()
    assert usage(one, seen) == Usage(1, 10_000, disk)
    assert usage(two, seen) == Usage(1, 10_000, 0)
    assert usage(two) == Usage(1, 10_000, disk)
    assert usage(tmp_path / "none") == Usage(0, 0, 0)


def test_holes_take_no_room(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    assert usage(tmp_path).bytes == 10_000_000
    assert usage(tmp_path).disk < 100_000


def test_missing_files(tmp_path: Path) -> None:
    volume = published(Shelf(tmp_path))
    assert missing(volume) == ()
    first, second, third = sorted(FILES)
    (volume.folder / first).unlink()
    (volume.folder / second).chmod(0o644)
    (volume.folder / second).write_bytes(b"another size")
    (volume.folder / third).unlink()
    (volume.folder / third).mkdir()
    assert missing(volume) == (first, second, third)
