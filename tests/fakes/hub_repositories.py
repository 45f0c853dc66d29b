"""The repositories that the fake hub serves: folders, and what a hub says of their files.

    ROOT/<org>/<name>/<files>               one revision; its commit is made from what it holds
    ROOT/<org>/<name>/<40 hex>/<files>      several revisions; ROOT/<org>/<name>/main, a text file,
                                            says which one `main` is, else it is the last by name
Beside the files may lie `.hub.json`, which is not served:
    {"licence": "apache-2.0", "gated": false,
     "files": {"<path>": {"sha256": "…"}}}  digests that need not be computed (of sparse files)
Files may be changed while the hub runs: digests are kept by size and time of change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_COMMIT = re.compile(r"[0-9a-f]{40}")
_LFS = (".safetensors", ".gguf", ".bin", ".pt", ".zip")
_LFS_FROM = 1024 * 1024
"""Bytes; the real hub stores whatever is larger than 10 MB so, and what .gitattributes names."""
SIDECAR = ".hub.json"


@dataclass(frozen=True, slots=True)
class HubFile:
    path: str
    location: Path
    bytes: int
    sha256: str | None
    """Of LFS files only."""
    git_oid: str
    """Of the blob that git holds: the content, or the LFS pointer."""

    @property
    def etag(self) -> str:
        return self.sha256 or self.git_oid

    def tree_entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "type": "file", "oid": self.git_oid, "size": self.bytes, "path": self.path
        }  # fmt: skip
        if self.sha256:
            size = len(_pointer(self.sha256, self.bytes))
            entry["lfs"] = {"oid": self.sha256, "size": self.bytes, "pointerSize": size}
        return entry

    def sibling(self, blobs: bool) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": self.path}
        if blobs:
            entry |= {"blobId": self.git_oid, "size": self.bytes}
            if self.sha256:
                size = len(_pointer(self.sha256, self.bytes))
                entry["lfs"] = {"sha256": self.sha256, "size": self.bytes, "pointerSize": size}
        return entry


@dataclass(frozen=True, slots=True)
class Revision:
    commit: str
    files: dict[str, HubFile]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def licence(self) -> str | None:
        return self.facts.get("licence")

    @property
    def gated(self) -> bool:
        return bool(self.facts.get("gated"))


class Repositories:
    def __init__(self, root: Path) -> None:
        self._root = root

    def commits(self, name: str) -> dict[str, str] | None:
        """Revision -> commit: `main`, and each commit by itself; None: no such repository."""
        folder = self._folder(name)
        if folder is None:
            return None
        held = sorted(one.name for one in folder.iterdir() if _COMMIT.fullmatch(one.name))
        if not held:
            commit = _revision(folder, None).commit
            return {"main": commit, commit: commit}
        said = folder / "main"
        main = said.read_text(encoding="ascii").strip() if said.is_file() else held[-1]
        return {"main": main, **{commit: commit for commit in held}}

    def revision(self, name: str, wanted: str) -> Revision | None:
        """Of a repository that exists; None: no such revision. `master` is ModelScope's main."""
        folder = self._folder(name)
        commits = self.commits(name)
        if folder is None or commits is None:
            return None
        commit = commits.get("main" if wanted == "master" else wanted)
        if commit is None:
            return None
        pinned = folder / commit
        return _revision(pinned, commit) if pinned.is_dir() else _revision(folder, None)

    def _folder(self, name: str) -> Path | None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name:
            return None
        folder = self._root / name
        return folder if folder.is_dir() else None


def _revision(folder: Path, commit: str | None) -> Revision:
    sidecar = folder / SIDECAR
    facts = json.loads(sidecar.read_text(encoding="utf-8")) if sidecar.is_file() else {}
    said = facts.get("files", {})
    files = {one.path: one for one in _files(folder, said)}
    if commit is None:
        listing = "".join(f"{one.git_oid} {one.path}\n" for one in files.values())
        commit = hashlib.sha1(listing.encode()).hexdigest()
    return Revision(commit, files, facts)


def _files(folder: Path, said: dict[str, dict[str, str]]) -> Iterator[HubFile]:
    for location in sorted(folder.rglob("*")):
        path = location.relative_to(folder).as_posix()
        if not location.is_file() or path == SIDECAR:
            continue
        status = location.stat()
        if location.suffix in _LFS or status.st_size >= _LFS_FROM:
            sha256 = said.get(path, {}).get("sha256") or _sha256(
                location, status.st_size, status.st_mtime_ns
            )
            oid = _blob_oid(_pointer(sha256, status.st_size))
            yield HubFile(path, location, status.st_size, sha256, oid)
        else:
            oid = _blob_oid(location.read_bytes())
            yield HubFile(path, location, status.st_size, None, oid)


def _pointer(sha256: str, size: int) -> bytes:
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


def _blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@cache
def _sha256(location: Path, _size: int, _changed: int) -> str:
    with location.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
