"""What is to be fetched, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Url:
    """Where a file can be had."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent to this URL's own scheme, host and port only, never where it redirects to: the token."""
    name: str = ""
    """Of the source, for messages: `Hugging Face`. The URL itself stands in none."""


@dataclass(frozen=True, slots=True)
class Want:
    """A file of known size, checked by `sha256`, else by `git_oid`, the git blob's SHA-1."""

    path: str
    """For messages and events: the path in its repository."""
    part: Path
    """Where the bytes go; it is still there, whole and fsynced, when all is well. Beside it lies
    `<part>.journal` as long as it is not."""
    bytes: int
    sha256: str | None
    git_oid: str | None
    """Of LFS files it is the pointer's and is not checked against the content."""
    urls: tuple[Url, ...]
    """Tried in this order: the next one when one fails for good."""


@dataclass(frozen=True, slots=True)
class Fetched:
    want: Want
    sha256: str
    """Of the bytes at `want.part`."""
    git_oid: str | None
    """`want.git_oid`; where neither that nor a sha256 was known, the blob's."""
