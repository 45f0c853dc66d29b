"""A repository's files as a hub tells of them, believed only where it can be true."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from server.catalogue.catalogue import shorten
from server.errors import HubError
from server.store.naming import checked

COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as a hub describes it. One of `sha256` and `git_oid` is always known."""

    path: str
    """Checked: it can be joined to a folder."""
    bytes: int
    sha256: str | None = None
    """Of LFS files; ModelScope tells it of every file."""
    git_oid: str | None = None
    """Of the git blob: for LFS files that of the pointer."""


@dataclass(frozen=True, slots=True)
class Listing:
    repository: str
    revision: str
    """40 hexadecimal digits; ModelScope has none and is given what was asked for."""
    files: tuple[Remote, ...]
    """Sorted by path."""
    licence: str | None = None


def remote(path: Any, size: Any, sha256: Any, git_oid: Any, endpoint: str) -> Remote:
    """One file of a listing, checked. Raises HubError, and StoreError for its name."""
    if not isinstance(path, str):
        raise nonsense(endpoint, "", "a file has no name")
    checked(path)
    told = f"of {shorten(path)} it tells"
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise nonsense(endpoint, "", f"{told} no size")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise nonsense(endpoint, "", f"{told} a sha256 that is none")
    if git_oid is not None and not (isinstance(git_oid, str) and COMMIT.fullmatch(git_oid)):
        raise nonsense(endpoint, "", f"{told} a git id that is none")
    if sha256 is None and git_oid is None:
        raise nonsense(endpoint, "", f"{told} neither sha256 nor git id")
    return Remote(path, size, sha256, git_oid)


def in_order(files: Iterable[Remote], repository: str, endpoint: str) -> tuple[Remote, ...]:
    """Sorted by path. Raises HubError for too many files, none, and one told of twice."""
    found: dict[str, Remote] = {}
    for file in files:
        if file.path in found:
            raise nonsense(endpoint, repository, f"it tells of {shorten(file.path)} twice")
        if len(found) == _MOST_FILES:
            raise nonsense(endpoint, repository, f"it lists more than {_MOST_FILES} files")
        found[file.path] = file
    if not found:
        raise nonsense(endpoint, repository, "it lists no files")
    return tuple(found[path] for path in sorted(found))


def require_repository(name: str) -> None:
    """Raises HubError unless `name` is `org/name` in letters that may stand in a path and a URL."""
    if not _REPOSITORY.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise HubError(
            f"{shorten(ascii(name))} is no repository", next_step='Name it as "org/name"'
        )


def nonsense(endpoint: str, repository: str, why: str) -> HubError:
    about = f" about {repository}" if repository else ""
    return HubError(
        f"what {endpoint} says{about} cannot be true",
        why=shorten(why.splitlines()[0] if why else "", 200),
        next_step="Check that HF_ENDPOINT is the address of a hub",
    )
