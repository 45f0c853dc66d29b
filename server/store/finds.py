"""Weights that other tools have fetched, and what their places say each file must be.

A cache of huggingface_hub keeps contents in `blobs/`, named after their digest, and a snapshot of
symbolic links to them. A folder of `hf download --local-dir` has the same digests, and the commit,
in `.cache/huggingface/download`. Nothing here is believed of a file: it is what the file is held
against when it is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.errors import StoreError
from server.store.manifest import OWN
from server.store.naming import checked, refusal
from server.store.receipt import REPOSITORY, REVISION

_SHA256 = re.compile(r"[0-9a-f]{64}")
_METADATA = Path(".cache") / "huggingface" / "download"
_LONGEST_METADATA = 4096  # bytes; commit, digest and time
_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Find:
    path: str
    """In its repository."""
    file: Path
    """Where the bytes are; no symbolic link."""
    sha256: str | None = None
    """What its place says it is; None where it says nothing, or gives the git id."""
    git_oid: str | None = None


@dataclass(frozen=True, slots=True)
class Finds:
    """A revision as another tool left it."""

    repository: str
    revision: str
    origin: Path
    files: tuple[Find, ...]
    """Sorted by path."""
    refused: Mapping[str, str]
    """Files that the store does not take, and why; without hidden ones."""


def look(path: Path, repository: str | None, revision: str | None) -> tuple[Finds, ...]:
    """What lies at `path`: a whole cache, a repository's folder in one, or a folder of files.

    Of a cache only `repository` and `revision` are taken, where they are given. A plain folder
    needs `repository`, and `revision` where nothing in it tells the commit.
    Raises StoreError if nothing is there, or it cannot be told what it is.
    """
    if not path.is_dir():
        raise StoreError(f"{path} is no folder", next_step="Name a folder, or none for the cache")
    caches = sorted(path.glob("models--*--*"))
    if path.name.startswith("models--") and (path / "snapshots").is_dir():
        caches = [path]
    if not caches:
        return (_in_folder(path, repository, revision),)
    found = tuple(
        finds
        for cache in caches
        for finds in _in_cache(cache)
        if repository in (None, finds.repository) and revision in (None, finds.revision)
    )
    if not found:
        wanted = repository or "any model"
        raise StoreError(
            f"{path} holds no snapshot of {wanted}{f'@{revision[:12]}' if revision else ''}",
            next_step="`hf cache ls` lists what a cache holds",
        )
    return found


def _in_cache(cache: Path) -> Iterator[Finds]:
    # models--org--name; an organisation's name holds no "--", a model's may.
    repository = cache.name.removeprefix("models--").replace("--", "/", 1)
    snapshots = cache / "snapshots"
    if not REPOSITORY.fullmatch(repository) or not snapshots.is_dir():
        return
    blobs = (cache / "blobs").resolve()
    for snapshot in sorted(snapshots.iterdir()):
        if not REVISION.fullmatch(snapshot.name) or not snapshot.is_dir():
            continue
        files: list[Find] = []
        refused: dict[str, str] = {}
        for name, file in _walk(snapshot, refused):
            oid = file.name if file.parent == blobs else ""
            files.append(_find(name, file, oid))
        if files or refused:
            yield Finds(repository, snapshot.name, snapshot, tuple(files), refused)


def _in_folder(folder: Path, repository: str | None, revision: str | None) -> Finds:
    if repository is None:
        raise StoreError(
            f"{folder} does not say of which repository it is",
            next_step="Give --as org/name",
        )
    refused: dict[str, str] = {}
    told = [
        (name, file, *_metadata(folder / _METADATA / f"{name}.metadata"))
        for name, file in _walk(folder, refused)
    ]
    commits = {commit for _, _, commit, _ in told if commit}
    if revision is None:
        if len(commits) != 1:
            what = "several commits" if commits else "no commit"
            raise StoreError(
                f"{folder} names {what}",
                why=", ".join(sorted(commits)),
                next_step="Say which with --revision, in 40 hexadecimal digits",
            )
        (revision,) = commits
    files = tuple(
        _find(name, file, etag if commit == revision else "") for name, file, commit, etag in told
    )
    return Finds(repository, revision, folder, files, refused)


def _walk(folder: Path, refused: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """The files below `folder` that can be held, by path; of the others those that are not hidden
    go into `refused`. Links are followed, those that lead nowhere are passed over."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(root) / name
            path = file.relative_to(folder).as_posix()
            count += 1
            if count > _MOST_FILES:
                raise StoreError(f"{folder} holds more than {_MOST_FILES} files: is it a model?")
            if name.startswith(".") or path in OWN or not file.is_file():
                continue
            try:
                checked(path)
            except StoreError as error:
                refused[ascii(path)] = error.why
                continue
            if why := refusal(path):
                refused[path] = why
            else:
                yield path, file.resolve()


def _find(path: str, file: Path, oid: str) -> Find:
    return Find(
        path,
        file,
        sha256=oid if _SHA256.fullmatch(oid) else None,
        git_oid=oid if REVISION.fullmatch(oid) else None,
    )


def _metadata(path: Path) -> tuple[str, str]:
    """Commit and digest that huggingface_hub noted for a file; empty where it did not."""
    try:
        with path.open() as file:
            lines = file.read(_LONGEST_METADATA).splitlines()
    except (OSError, ValueError):
        return "", ""
    commit, etag = (*lines, "", "")[:2]
    return (commit, etag) if REVISION.fullmatch(commit) else ("", "")
