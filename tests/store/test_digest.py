"""Digests, against sha256sum and git themselves."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from server.store.digest import blob_oid, git_blob_oid, lfs_pointer_oid, sha256_of

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
def test_as_the_tools_have_it(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(index % 251 for index in range(size)))
    told: list[int] = []
    expected = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert sha256_of(path, told.append) == expected.stdout.split()[0]
    assert sum(told) == size
    oid = subprocess.run(
        ["git", "hash-object", "--no-filters", path], capture_output=True, text=True, check=True
    )
    assert git_blob_oid(path) == oid.stdout.strip() == blob_oid(path.read_bytes())


def test_the_pointer_of_an_lfs_file() -> None:
    # The example of git-lfs's own specification.
    sha256 = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 12345\n".encode()
    )
    expected = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    assert lfs_pointer_oid(sha256, 12345) == expected


def test_what_is_absent_is_the_callers_to_tell(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "none")
